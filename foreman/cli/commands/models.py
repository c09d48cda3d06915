"""`foreman models`: the models of the targets and their state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.text import Text

from foreman.cli.commands.targets import tell_away
from foreman.cli.console import show_table
from foreman.cli.exit_codes import epilog
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Client, ClientError, ConnectFailed, Target, Unauthorized
from foreman.client.reading import decode
from foreman.client.requests import Ask

STYLES = {"loaded": "green", "away": "red"}
LATEST = ":latest"  # the end of a name on one target that another may leave out
UNITS = ("B", "KB", "MB", "GB", "TB")


class Shown(msgspec.Struct):
    """A model as printed."""

    name: str
    state: str  # "loaded", "ready" to be loaded, or "away" with its targets
    size: int | None  # bytes
    context: int | None  # tokens: as loaded, else the most it supports
    queued: int
    targets: list[str]  # names of those that have it


class Entry(msgspec.Struct):
    """A model in the answers of /api/tags and /api/ps."""

    name: str
    size: int | None = None  # bytes
    context_length: int | None = None  # tokens, of a loaded model


class Entries(msgspec.Struct):
    """The answer of /api/tags and /api/ps."""

    models: list[Entry] = []


class Described(msgspec.Struct):
    """The answer of /api/show."""

    model_info: dict[str, Any] = {}
    details: dict[str, Any] = {}
    capabilities: list[str] = []

    @property
    def context(self) -> int | None:
        """The largest context in tokens; None when unknown."""
        found = [value for name, value in self.model_info.items() if name.endswith(".context_length")]
        return next((value for value in found if isinstance(value, int)), None)


@click.command(epilog=epilog("foreman models", "foreman models --quiet"), short_help="List the models and their state.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"models": [{"name", "state", "size", "context", "queued", "targets"}], "degraded", "target_error"}.',
)
@quiet("Print only the names, one a line.")
@reaches_foreman
def models(as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the models with their state, size, context and number of waiting jobs.

    TARGET is shown where there are several. STATE is 'loaded', 'ready' to be loaded, or 'away' while no target that
    has it can be reached. CONTEXT is in tokens: as loaded for a loaded model, the most it supports for any other; it
    is empty where the target does not say.
    """
    with Client(url, token) as client:
        names = client.models()
        if quiet and not as_json:
            print_ids(names)
            return
        health = client.health()
        targets = client.targets()
        rows = _rows(client, names, targets)
    if as_json:
        shown = {"models": rows, "degraded": health.degraded, "target_error": health.target_error}
        print_json(shown)
        return
    tell_away(targets)
    if not rows:
        click.echo("no models", err=True)
        return
    several = len(targets) > 1
    heads = ("STATE", "SIZE", "CONTEXT", "WAITING", *(["TARGET"] if several else []), "MODEL")
    show_table(heads, (_row(row, several) for row in rows), spare=("WAITING", "CONTEXT", "SIZE"))


def _rows(client: Client, names: Sequence[str], targets: Sequence[Target]) -> list[Shown]:
    up = any(target.up for target in targets)
    known = _entries(client, _listed()) if up else {}
    loaded = _entries(client, _loaded()) if up else {}
    reached = {name.removesuffix(LATEST) for target in targets if target.up for name in target.models}
    waiting = client.queue().by_model
    rows = []
    for name in names:
        now, entry = loaded.get(name), known.get(name)
        having = [one.name for one in targets if any(_same(name, listed) for listed in one.models)]
        away = bool(having) and name.removesuffix(LATEST) not in reached  # another node's is none of these targets'
        possible = None if away or now else _context(client, name)
        rows.append(
            Shown(
                name,
                "away" if away else "loaded" if now else "ready",
                (entry.size if entry else None) or None,
                now.context_length if now else possible,
                sum(waiting.get(name, {}).values()),
                having,
            )
        )
    return rows


def _entries(client: Client, ask: Ask[Entries]) -> dict[str, Entry]:
    """Return the models by name; empty where the target does not offer this list."""
    try:
        return {entry.name: entry for entry in decode(client.raw(ask), Entries).models}
    except (ConnectFailed, Unauthorized):
        raise
    except (ClientError, msgspec.DecodeError):
        return {}


def _context(client: Client, name: str) -> int | None:
    ask = described(name)
    try:
        return decode(client.raw(ask), ask.answer).context
    except (ClientError, msgspec.DecodeError):
        return None


def _listed() -> Ask[Entries]:
    """List the models of the target."""
    return Ask(Entries, "/api/tags")


def _loaded() -> Ask[Entries]:
    """List the loaded models."""
    return Ask(Entries, "/api/ps")


def described(model: str) -> Ask[Described]:
    """Describe a model."""
    headers = {"Content-Type": "application/json"}
    return Ask(Described, "/api/show", "POST", headers=headers, body=msgspec.json.encode({"model": model}))


def _same(one: str, other: str) -> bool:
    return one.removesuffix(LATEST) == other.removesuffix(LATEST)


def _row(model: Shown, several: bool) -> Sequence[str | Text]:
    context = f"{model.context:,}" if model.context else ""
    waiting = f"{model.queued:,}" if model.queued else ""
    state = Text(model.state, style=STYLES.get(model.state, ""))
    where = [", ".join(model.targets)] if several else []
    return state, size(model.size), context, waiting, *where, model.name


def size(count: int | None) -> str:
    """Return a number of bytes with its unit, such as 4.7 GB; empty when unknown."""
    if not count:
        return ""
    value = float(count)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"
