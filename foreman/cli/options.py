"""Options that several commands have: --url, --token and --quiet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def reaches_foreman(command: F) -> F:
    """Add the options --url and --token to a command."""
    token = click.option(
        "--token",
        envvar="FOREMAN_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="API token. Prefer the environment: arguments are visible to other users.",
    )
    url = click.option(
        "--url",
        envvar="FOREMAN_URL",
        show_envvar=True,
        metavar="URL",
        help="URL of the running Foreman.  [default: http://127.0.0.1:8080]",
    )
    return url(token(command))


def quiet(what: str = "Print only the ids, one a line.") -> Callable[[F], F]:
    """Add the option --quiet to a command; --json takes precedence over it."""
    return click.option("-q", "--quiet", is_flag=True, help=what)
