"""Checks of other servers: the targets, their models, and receivers of webhooks."""

from __future__ import annotations

import difflib
import importlib.util
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec
import trio

from foreman.cli.doctor.finding import Finding, bad, doubtful, good
from foreman.cli.doctor.local import own_url
from foreman.client.errors import AnswerTooLarge
from foreman.client.limits import Allowance, Limits
from foreman.client.network import Transport
from foreman.client.why import why
from foreman.config.managed_model import ManagedModel
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings, models_of
from foreman.domain.errors import TargetError, TargetRefused, TargetUnavailable
from foreman.domain.webhooks import addresses
from foreman.program import install
from foreman.targets.boot import boot_id_at
from foreman.targets.http.pool import Client
from foreman.targets.managed.engine import DEFAULT_NAME
from foreman.targets.managed.model_file import DEFAULT_MODEL, find_model
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from foreman.targets.protocol import Model

TIMEOUT = 5.0  # seconds for an answer of the target
ANSWER = 65_536  # bytes; the largest answer of a receiver
LISTED = 10  # models


def targets(settings: Settings) -> Iterator[tuple[Finding, list[str] | None]]:
    """Check each target; also yield the names of its models, None when unknown."""
    every = settings.all_targets
    for one in every:
        finding, known = _managed(one, settings) if one.kind == "managed" else _server(one, settings)
        if len(every) > 1 and f" {one.name} " not in f" {finding.what}":
            finding = msgspec.structs.replace(finding, what=f"{one.name}: {finding.what}")
        yield finding, known


def _managed(one: TargetSettings, settings: Settings) -> tuple[Finding, list[str]]:
    if not (models := models_of(settings, one.name)):
        return _embedded(), [DEFAULT_NAME, DEFAULT_MODEL]
    names = [name for model in models for name in (model.name, *model.aliases)]
    return _commands(models), names


def _server(one: TargetSettings, settings: Settings) -> tuple[Finding, list[str] | None]:
    url, token = one.url, one.token.get_secret_value()
    own_table = f"targets.{one.name}." if settings.targets else ""
    setting = f"{own_table}{one.kind}_url"
    called = one.name if settings.targets or len(settings.all_targets) > 1 else ""
    server = OllamaTarget(url, token, name=called) if one.kind == "ollama" else OpenAITarget(url, token, name=called)
    found, own = trio.run(_ask, server, settings)
    if own or (isinstance(found, TargetUnavailable) and _listens_at(url, settings)):
        do = f"set {setting} to where the inference server listens, or choose another addr for foreman"
        return bad("target", f"{url} is this foreman itself", do), None
    if isinstance(found, TargetError):
        what = str(found).replace(server.name, server.address, 1)
        do = f"start it, or set {setting} to where it listens"
        if isinstance(found, TargetRefused):
            locked = found.status in (401, 403)
            secret = f"{own_table}token" if own_table else f"{one.kind}_token"
            do = f"set {secret}" if locked else f"is {setting} the right address?"
        return bad("target", what, do), None
    taken = [model for model in found if any(map(one.takes, (model.name, *model.aliases)))]
    if not taken:
        return doubtful("target", f"{server.address} has no models", "add one, such as 'ollama pull qwen3:8b'"), []
    known = [name for model in taken for name in (model.name, *model.aliases)]
    return good("target", f"{server.address}, models: {some([model.name for model in taken])}"), known


async def _ask(server: OllamaTarget | OpenAITarget, settings: Settings) -> tuple[list[Model] | TargetError, bool]:
    """Return the models or the error of the target, and True if it is the Foreman that listens at addr."""
    models: list[Model] = []
    error: TargetError | None = TargetUnavailable(server.name, f"no answer within {TIMEOUT:g} s")
    own = False
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with trio.move_on_after(TIMEOUT):
            try:
                models, error = await server.models(), None
            except TargetError as raised:
                error = raised
        if (boot_id := await server.boot_id()) is not None:
            with closing(Client(own_url(settings))) as ours:
                own = boot_id == await boot_id_at(ours)
        nursery.cancel_scope.cancel()
    return error or models, own


def _listens_at(url: str, settings: Settings) -> bool:
    """Return True if `url` is the address of a Foreman with these settings."""
    ours, theirs = urlsplit(own_url(settings)), urlsplit(url)
    ports = [parts.port or {"http": 80, "https": 443}[parts.scheme] for parts in (ours, theirs)]
    hosts = ["127.0.0.1" if parts.hostname == "localhost" else parts.hostname for parts in (ours, theirs)]
    return ports[0] == ports[1] and hosts[0] == hosts[1]


def _commands(models: Sequence[ManagedModel]) -> Finding:
    for model in models:
        if shutil.which(model.command[0]) is None:
            do = "install it, or give its full path as the first item of command"
            return bad("target", f"the program of model {model.name} is missing: {model.command[0]}", do)
        file = Path(model.model or "")
        if file.is_absolute() and not file.exists():
            return bad(
                "target",
                f"the file of model {model.name} is missing: {file}",
                "put it there, or correct the setting model",
            )
    count = "1 model" if len(models) == 1 else f"{len(models)} models"
    return good("target", f"foreman starts {count} itself: {some([model.name for model in models])}")


def _embedded() -> Finding:
    if importlib.util.find_spec("xllamacpp") is None:
        do = f"set ollama_url or openai_url, or {install('embedded')}"
        return bad("target", "none is set, and the embedded engine is not installed", do)
    if find_model(DEFAULT_MODEL) is None:
        do = "set ollama_url or openai_url, or run foreman demo, which fetches it"
        return bad("target", "none is set, and the embedded model is not here", do)
    return good("target", f"none is set: foreman runs {DEFAULT_NAME} itself")


def model(name: str, known: Sequence[str] | None, kinds: Sequence[str]) -> Finding:
    """Check that one of the targets, which are of these kinds, has the model `name`."""
    if known is None:
        return bad("model", f"cannot check {name} while a target does not answer", "fix the target first")
    if name in known:
        return good("model", name)
    near = difflib.get_close_matches(name, known, n=1)
    pull = f"'ollama pull {name}' fetches it" if "ollama" in kinds else "see which models the target serves"
    lacks = f"the target has no model {name}; it has" if len(kinds) == 1 else f"no target has a model {name}; they have"
    do = f"did you mean {near[0]}? Else {pull}" if near else pull
    return bad("model", f"{lacks}: {some(known)}" if known else f"{lacks} none", do)


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def webhook(url: str, settings: Settings) -> Finding:
    """Check that webhooks to `url` are allowed and that a server answers there; no webhook is sent."""
    try:
        parts = addresses.read_url(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        return bad("webhook", f"{url} has an invalid host name", "correct the URL")
    except ValueError as invalid:
        return bad("webhook", f"{url} {invalid}", "correct the URL")
    except OSError as error:
        return bad(
            "webhook",
            f"{parts.hostname} cannot be resolved ({error.strerror or error})",
            "correct the host name, or fix DNS",
        )
    host = parts.hostname or ""
    rules = addresses.AddressRules.read(settings.webhook_allow, loopback=settings.only_loopback)
    for text in dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found):
        address = ip_address(text)
        if why := rules.refusal(address, name=host):
            if addresses.AddressRules([ip_network(address)]).refusal(address) is None:
                return bad("webhook", f"{host} is blocked: {why}", f"allow it with FOREMAN_WEBHOOK_ALLOW={host}")
            return bad("webhook", f"{host} is blocked: {why}", "give the receiver another address")
    return _answers(url, settings.webhook_timeout)


def _answers(url: str, timeout: float) -> Finding:
    allowance = Allowance(Limits(timeout, max_answer=ANSWER), timeout, url)
    tls = httpx2.create_ssl_context(trust_env=False)
    try:
        with allowance.applied(), httpx2.Client(transport=Transport(tls), trust_env=False) as http:
            status = http.head(url, timeout=timeout).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, AnswerTooLarge) as error:
        return bad("webhook", f"{url} does not answer ({why(error)})", "start the receiver, or correct the URL")
    return good("webhook", f"{url} answers (HEAD gives {status}; nothing was posted)")
