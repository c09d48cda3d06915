"""What scripts read: ids one a line, and what the API says of the queue and its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec

from foreman.cli.screen import one_line
from foreman.client import Page
from foreman.client.requests import Ask

F = TypeVar("F", bound=Callable[..., Any])

LONGEST_LINE = 500  # jobs that Foreman tells of those that wait


def quiet(what: str = "Print only the ids, one a line.") -> Callable[[F], F]:
    """Give a verb the option --quiet; where --json is given too, that wins."""
    return click.option("-q", "--quiet", is_flag=True, help=what)


def print_ids(ids: Iterable[str]) -> None:
    for found in ids:
        click.echo(one_line(found))


def line(limit: int) -> Ask[Page]:
    """The jobs that wait, in the order in which they would run if nothing else came; up to LONGEST_LINE."""
    return Ask(Page, "/queue/jobs", params={"limit": str(limit)})


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


def listed() -> Ask[Entries]:
    """The models of the target."""
    return Ask(Entries, "/api/tags")


def loaded() -> Ask[Entries]:
    """Those that are in memory."""
    return Ask(Entries, "/api/ps")


def described(model: str) -> Ask[Described]:
    headers = {"Content-Type": "application/json"}
    return Ask(Described, "/api/show", "POST", headers=headers, body=msgspec.json.encode({"model": model}))
