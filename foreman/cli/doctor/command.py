"""The command: run the checks in order and print their findings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from foreman.cli.commands.shell_completion import model_names
from foreman.cli.console import console
from foreman.cli.doctor import elsewhere, local, remote
from foreman.cli.doctor.finding import Finding, bad, good
from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_json
from foreman.cli.setting_options import takes_settings
from foreman.config.settings import Settings
from foreman.config.sources import DEFAULT_FILE, load
from foreman.domain.errors import SettingInvalid

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command(
    epilog=epilog("foreman doctor", "foreman doctor --model qwen3:8b --webhook http://10.0.0.7:5678/webhook/llm"),
    short_help="Check whether Foreman can work here, and say what to fix.",
)
@click.option("-m", "--model", metavar="NAME", shell_complete=model_names, help="Model that the target must have.")
@click.option("--webhook", metavar="URL", help="Receiver that must be allowed and answer (to a HEAD).")
@click.option(
    "--url",
    envvar="FOREMAN_URL",
    show_envvar=True,
    metavar="URL",
    help="URL of the running Foreman.  [default: the one that listens on addr, if any]",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"ok", "checks": [{"check", "status": "ok", "warn" or "fail", "what", "do"}]}.',
)
@takes_settings
def doctor(
    config: Path | None,
    model: str | None,
    webhook: str | None,
    url: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Check the settings, token, data folder, port and targets of 'foreman serve', and a running Foreman.

    Prints one line for each check: good (✓), a warning (!) or an error (✗), with the remedy. Exits with 1 after an
    error. Takes the same flags as 'foreman serve', so that it judges what would be started. Given the URL of a Foreman
    on another machine or port, checks that one and its targets only. Changes nothing and posts nothing.
    """
    found: list[Finding] = []
    for finding in _examine(
        config, {name: value for name, value in flags.items() if value is not None}, model, webhook, url
    ):
        found.append(finding)
        if not as_json:
            _print(finding)
    wrong = any(finding.status == "fail" for finding in found)
    if as_json:
        print_json({"ok": not wrong, "checks": found})
    sys.exit(FAILED if wrong else 0)


def _examine(
    config: Path | None, flags: dict[str, Any], model: str | None, webhook: str | None, url: str | None
) -> Iterator[Finding]:
    try:
        settings = _load(config, flags)
    except SettingInvalid as invalid:
        yield bad("settings", str(invalid), "fix this setting first; 'foreman serve --help' explains each")
        return
    if url and elsewhere.is_elsewhere(url, settings):
        yield from elsewhere.examine(url, settings, model, webhook)
        return
    file = settings.origins.file
    yield good("settings", str(file) if file else f"valid (there is no {DEFAULT_FILE})")
    yield local.token(settings)
    if settings.tls_cert:
        yield local.certificate(settings)
    yield local.store(settings)
    if found := local.full_text(settings):
        yield found
    if few := local.few_descriptors(settings):
        yield few
    port, is_foreman = local.port(settings)
    yield port
    known: list[str] = []
    if url or is_foreman:
        running = url or local.own_url(settings)
        yield local.running(running, settings)
        if others := elsewhere.other_targets(running, settings):
            warning, known = others
            yield warning
    silent = False
    for target, names in remote.targets(settings):
        yield target
        known += names or []
        silent |= names is None
    if model:
        kinds = [one.kind for one in settings.all_targets]
        yield remote.model(model, None if silent and model not in known else known, kinds)
    if webhook:
        yield remote.webhook(webhook, settings)


def _load(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Return the settings, even if only a token is missing: that is a check of its own."""
    try:
        return load(config, flags)
    except SettingInvalid:
        open_one = load(config, flags | {"insecure": True})
        return open_one.model_copy(update={"insecure": False})


def _print(finding: Finding) -> None:
    mark, style = MARKS[finding.status]
    do = Text(f" → {one_line(finding.do)}", style="bold") if finding.do else Text()
    console().print(Text(mark, style=style) + Text(f" {finding.check:<9} {one_line(finding.what)}") + do)
