"""How a verb finds the running Foreman."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def reaches_foreman(verb: F) -> F:
    """Give a verb the options --url and --token."""
    token = click.option(
        "--token",
        envvar="FOREMAN_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="Access token. Prefer the environment: arguments are visible to other users.",
    )
    url = click.option(
        "--url",
        envvar="FOREMAN_URL",
        show_envvar=True,
        metavar="URL",
        help="Where Foreman listens.  [default: http://127.0.0.1:8080]",
    )
    return url(token(verb))
