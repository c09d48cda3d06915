"""The options --url and --token of the commands that need a running Foreman."""

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
