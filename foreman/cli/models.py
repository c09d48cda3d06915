"""`foreman models`: what the target has, and what is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.text import Text

from foreman.cli.connect import reaches_foreman
from foreman.cli.exit_codes import epilog
from foreman.cli.output import print_ids, print_json, quiet
from foreman.cli.screen import plain, show_table
from foreman.client import Client, ClientError, ConnectFailed, Unauthorized
from foreman.client.reading import decode
from foreman.client.requests import Ask

STYLES = {"loaded": "green", "away": "red"}
UNITS = ("B", "KB", "MB", "GB", "TB")


class Shown(msgspec.Struct):
    """A model as it is told."""

    name: str
    state: str  # "loaded", "ready" to be loaded, or "away" with its target
    size: int | None  # bytes
    context: int | None  # tokens: of one that is loaded those that it was given, else those that it could take
    queued: int


class Entry(msgspec.Struct):
    """A model as /api/tags and /api/ps have it."""

    name: str
    size: int | None = None  # bytes
    context_length: int | None = None  # tokens, where it is loaded


class Entries(msgspec.Struct):
    models: list[Entry] = []


class Described(msgspec.Struct):
    """What /api/show says of a model."""

    model_info: dict[str, Any] = {}

    @property
    def context(self) -> int | None:
        """Tokens that it could take."""
        found = [value for name, value in self.model_info.items() if name.endswith(".context_length")]
        return next((value for value in found if isinstance(value, int)), None)


@click.command(
    epilog=epilog("foreman models", "foreman models --quiet"), short_help="List the target's models and their state."
)
@click.option("--json", "as_json", is_flag=True, help='Print {"models": […], "degraded": …, "target_error": …}.')
@quiet("Print only the names, one a line.")
@reaches_foreman
def models(as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the models that jobs may ask for: which is loaded, their size and context, and how many jobs wait for each.

    CONTEXT is how many tokens a loaded model was given, of another how many it could take.
    """
    with Client(url, token) as client:
        names = client.models()
        if quiet and not as_json:
            print_ids(names)
            return
        health = client.health()
        rows = _rows(client, names, away=health.degraded)
    if as_json:
        shown = {"models": rows, "degraded": health.degraded, "target_error": health.target_error}
        print_json(shown)
        return
    if health.degraded:
        click.echo(plain(f"the target is away: {health.target_error}"), err=True)
    if not rows:
        click.echo("no models", err=True)
        return
    show_table(("STATE", "SIZE", "CONTEXT", "WAITING", "MODEL"), map(_row, rows), spare=("WAITING", "CONTEXT", "SIZE"))


def _rows(client: Client, names: Sequence[str], *, away: bool) -> list[Shown]:
    known = {} if away else _entries(client, _listed())
    there = {} if away else _entries(client, _loaded())
    waiting = client.queue().by_model
    rows = []
    for name in names:
        at_work, entry = there.get(name), known.get(name)
        possible = None if away or at_work else _context(client, name)
        rows.append(
            Shown(
                name,
                "away" if away else "loaded" if at_work else "ready",
                (entry.size if entry else None) or None,
                at_work.context_length if at_work else possible,
                sum(waiting.get(name, {}).values()),
            )
        )
    return rows


def _entries(client: Client, ask: Ask[Entries]) -> dict[str, Entry]:
    """What a target says of its models; one that does not say it has its models all the same."""
    try:
        return {entry.name: entry for entry in decode(client.raw(ask), Entries).models}
    except (ConnectFailed, Unauthorized):
        raise
    except (ClientError, msgspec.DecodeError):
        return {}


def _context(client: Client, name: str) -> int | None:
    ask = _described(name)
    try:
        return decode(client.raw(ask), ask.answer).context
    except (ClientError, msgspec.DecodeError):
        return None


def _listed() -> Ask[Entries]:
    """The models of the target."""
    return Ask(Entries, "/api/tags")


def _loaded() -> Ask[Entries]:
    """Those that are in memory."""
    return Ask(Entries, "/api/ps")


def _described(model: str) -> Ask[Described]:
    headers = {"Content-Type": "application/json"}
    return Ask(Described, "/api/show", "POST", headers=headers, body=msgspec.json.encode({"model": model}))


def _row(model: Shown) -> Sequence[str | Text]:
    context = f"{model.context:,}" if model.context else ""
    waiting = f"{model.queued:,}" if model.queued else ""
    return Text(model.state, style=STYLES.get(model.state, "")), size(model.size), context, waiting, model.name


def size(count: int | None) -> str:
    """Bytes as people write them: 4.7 GB; empty where nobody knows."""
    if not count:
        return ""
    value = float(count)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"
