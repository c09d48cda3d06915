"""Settings as options of a command, and as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from foreman.config.cost_settings import CostSettings
from foreman.config.managed_model import ManagedModel
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import HIDDEN, Settings
from foreman.config.target_settings import TargetSettings

F = TypeVar("F", bound=Callable[..., Any])

NOT_FLAGS = {"cost", "macros", "models", "quotas", "targets"}  # tables: only the file can set them
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


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


def summary(name: str) -> str:
    """Return the first sentence of the description of a setting."""
    sentence, end, _ = unmarked(Settings.model_fields[name].description or "").partition(". ")
    return sentence + end.rstrip()


def unmarked(text: str) -> str:
    """Return Markdown as plain text: no backticks, and only the words of links."""
    return re.sub(r"\[(.+?)\]\(.+?\)", r"\1", text).replace("`", "")


def shown(field: FieldInfo, value: Any) -> str:
    """Return the value of a setting as text: secrets hidden, times and sizes with their unit."""
    plain = without_secrets(value)
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    if isinstance(plain, list):
        return ", ".join(item["name"] if isinstance(item, dict) else str(item) for item in plain)
    if isinstance(plain, dict):
        return ",".join(f"{name}={_one(one)}" for name, one in plain.items())
    if any(isinstance(part, BeforeValidator) for part in field.metadata):
        if field.annotation is float:
            return _measured(plain, _TIMES, "s")
        if field.annotation is int:
            return _measured(plain, _SIZES, "B")
    return str(plain)


def without_secrets(value: Any) -> Any:
    """Return the value as JSON types, with *** for every secret that is set."""
    match value:
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case ManagedModel():
            fields = value.model_dump()
            return fields | {"env": dict.fromkeys(fields["env"], HIDDEN)}
        case CostSettings() | QuotaSettings():
            return value.model_dump(exclude_none=True)
        case dict():
            return {name: without_secrets(one) for name, one in value.items()}
        case TargetSettings():
            return {name: without_secrets(one) for name, one in value}
        case tuple() | list():
            return [without_secrets(item) for item in value]
        case Path():
            return str(value)
        case str():
            return re.sub(r"//[^/@]+@", f"//{HIDDEN}@", value)
    return value


def _one(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, dict):
        return " ".join(f"{name}:{one}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _measured(value: float, units: Sequence[tuple[int, str]], least: str) -> str:
    size, unit = next(((size, unit) for size, unit in units if value >= size and value % size == 0), (1, least))
    return f"{value / size:g} {unit}"
