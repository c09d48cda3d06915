"""Settings as they are shown: their values as text and JSON without secrets, their units and descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from foreman.config.cost_settings import CostSettings
from foreman.config.hiding import hidden_text, hidden_value, hidden_words
from foreman.config.managed_model import ManagedModel
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import HIDDEN, Settings, reloads
from foreman.config.target_settings import TargetSettings
from foreman.domain import views

_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def every(settings: Settings) -> Iterator[views.Setting]:
    """Yield each setting with its value, its source and what it means."""
    for name, field in Settings.model_fields.items():
        value, default = getattr(settings, name), field.get_default(call_default_factory=True)
        yield views.Setting(
            name=name,
            value=without_secrets(value),
            text=shown(field, value),
            source=settings.origins.source(name),
            default=shown(field, default),
            is_default=value == default,
            unit=unit_of(field),
            description=unmarked(field.description or ""),
            changes_at_reload=reloads(field),
        )


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
    unit = unit_of(field)
    if unit == "seconds":
        return _measured(plain, _TIMES, "s")
    return _measured(plain, _SIZES, "B") if unit == "bytes" else str(plain)


def unit_of(field: FieldInfo) -> str | None:
    """Return the unit of a setting that is a time or a size."""
    if not any(isinstance(part, BeforeValidator) for part in field.metadata):
        return None
    return "seconds" if field.annotation is float else "bytes" if field.annotation is int else None


def without_secrets(value: Any) -> Any:
    """Return the value as JSON types, with *** for every secret that is set."""
    match value:
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case ManagedModel():
            fields = value.model_dump()
            for name in ("command", "stop_command"):
                fields[name] = hidden_words(fields[name])
            fields |= {name: hidden_text(text) for name in ("model", "ready") if (text := fields[name])}
            hidden = {name: dict.fromkeys(fields[name], HIDDEN) for name in ("env", "macros")}
            return fields | hidden | {"set": hidden_value("", fields["set"])}
        case CostSettings() | QuotaSettings():
            return value.model_dump(exclude_none=True)
        case dict():  # beside tables there are macros, and the use of one may be that of a secret
            tables = (CostSettings, QuotaSettings)
            return {name: without_secrets(one) if isinstance(one, tables) else HIDDEN for name, one in value.items()}
        case TargetSettings():
            return {name: without_secrets(one) for name, one in value}
        case tuple() | list():
            return [without_secrets(item) for item in value]
        case Path():
            return str(value)
        case str():
            return hidden_text(value)
    return value


def _one(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, dict):
        return " ".join(f"{name}:{one}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _measured(value: float, units: Sequence[tuple[int, str]], least: str) -> str:
    size, unit = next(((size, unit) for size, unit in units if value >= size and value % size == 0), (1, least))
    return f"{value / size:g} {unit}"
