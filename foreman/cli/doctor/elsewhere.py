"""Checks by what a Foreman tells of itself: one on another machine, or one here that has other settings."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from foreman.cli.doctor import local, remote
from foreman.cli.doctor.finding import Finding, bad, doubtful, good
from foreman.client import Client, ClientError
from foreman.config.settings import Settings
from foreman.domain.views import Target


def is_elsewhere(url: str, settings: Settings) -> bool:
    """Return True unless `url` is on this machine, at the port of `addr`."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
        found = socket.getaddrinfo(parts.hostname, 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return True
    return port != settings.port or not any(_is_ours(family, address[0]) for family, *_, address in found)


def _is_ours(family: int, host: str | int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def examine(url: str, settings: Settings, model: str | None, webhook: str | None) -> Iterator[Finding]:
    """Check the Foreman at `url`, its targets, and that one has the model; of the settings only the token counts."""
    yield local.running(url, settings)
    if (targets := _targets(url, settings)) is None:
        return  # the first finding says why
    yield from map(_target, targets)
    if model:
        known = [name for target in targets for name in target.models]
        away = any(not target.up for target in targets) and model not in known
        yield remote.model(model, None if away else known, [target.kind for target in targets])
    if webhook:
        what = f"{webhook} cannot be tried from here: the Foreman at {url} would send to it"
        yield doubtful("webhook", what, "run 'foreman doctor --webhook URL' on its machine")


def other_targets(url: str, settings: Settings) -> tuple[Finding, list[str]] | None:
    """Compare the targets of the Foreman at `url` with those of the settings; None if it has all of these.

    Otherwise return a warning that names its targets, and the models that they have.
    """
    targets = _targets(url, settings)
    if targets is None or {(target.kind, target.url) for target in targets}.issuperset(
        (one.kind, one.url or None) for one in settings.all_targets
    ):
        return None
    theirs = ", ".join(f"{target.name} at {target.url}" if target.url else target.name for target in targets)
    what = f"the foreman that runs has others than these settings: {theirs}"
    do = "'foreman reload' if you have changed the file; else give doctor the flags and variables of that foreman"
    return doubtful("target", what, do), [name for target in targets for name in target.models]


def _targets(url: str, settings: Settings) -> list[Target] | None:
    """Return the targets of the Foreman at `url`; None if it does not say."""
    given = settings.token[0].get_secret_value() if settings.token else None
    try:
        with Client(url, given, timeout=local.TIMEOUT) as client:
            return client.targets()
    except ClientError:
        return None


def _target(target: Target) -> Finding:
    called = f"{target.name} at {target.url}" if target.url else target.name
    if not target.up:
        return bad("target", f"{called}: {target.error or 'it does not answer'}", "start it, or see its log")
    if not target.models:
        return doubtful("target", f"{called} has no models", "add one, such as 'ollama pull qwen3:8b'")
    return good("target", f"{called}, models: {remote.some(target.models)}")
