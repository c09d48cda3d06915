"""Options that several commands have, such as --url, --token and --quiet."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def reaches_foreman(command: F) -> F:
    """Add the options --url, --token and --no-color to a command."""
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
    plain = click.option(
        "--no-color",
        is_flag=True,
        expose_value=False,
        callback=_without_colours,
        help="Print without colours, as in a pipe, or where NO_COLOR is set.",
    )
    return url(token(plain(command)))


def _without_colours(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given:
        os.environ["NO_COLOR"] = "1"  # for rich
        ctx.color = False


def quiet(what: str = "Print only the ids, one a line.") -> Callable[[F], F]:
    """Add the option --quiet to a command; --json takes precedence over it."""
    return click.option("-q", "--quiet", is_flag=True, help=what)


def model_options(command: F) -> F:
    """Add the option --option to a command: options of the model, a dict by name."""
    return click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        callback=_pairs,
        metavar="NAME=VALUE",
        help="Option of the model, such as temperature=0; may be repeated.",
    )(command)


def value_of(text: str) -> Any:
    """Return the value of an option: JSON, or else text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def words(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str] | None:
    """Parse NAME=VALUE pairs of texts; None for none."""
    return dict(map(_pair, given)) or None


def _pairs(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Parse NAME=VALUE pairs whose values are JSON, or else text."""
    return {name: value_of(value) for name, value in map(_pair, given)}


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"must be NAME=VALUE; given: {given}")
    return name, value
