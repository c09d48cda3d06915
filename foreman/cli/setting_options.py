"""Settings as options of a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from foreman.config.settings import Settings
from foreman.config.shown import shown, summary

F = TypeVar("F", bound=Callable[..., Any])

NOT_FLAGS = {"cost", "macros", "models", "quotas", "targets"}  # tables: only the file can set them


def takes_settings(command: F) -> F:
    """Add --config and a flag for every scalar setting to a command; the settings validate the text."""
    for name, field in reversed(Settings.model_fields.items()):
        if name in NOT_FLAGS:
            continue
        flag = "--" + name.replace("_", "-")
        default = shown(field, field.get_default(call_default_factory=True))
        words = summary(name) + (f"  [default: {default}]" if default not in ("", "no") else "")
        if field.annotation is bool:
            command = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=words)(command)
        else:
            command = click.option(flag, name, metavar="VALUE", help=words)(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file, TOML.  [default: FOREMAN_CONFIG, else config/foreman.toml if it is there]",
    )(command)
