"""What scripts read: nothing but ids, one a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from foreman.cli.screen import one_line

F = TypeVar("F", bound=Callable[..., Any])


def quiet(what: str = "Print only the ids, one a line.") -> Callable[[F], F]:
    """Give a verb the option --quiet; where --json is given too, that wins."""
    return click.option("-q", "--quiet", is_flag=True, help=what)


def print_ids(ids: Iterable[str]) -> None:
    for found in ids:
        click.echo(one_line(found))
