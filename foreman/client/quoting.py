"""Values as requests carry them: in paths, headers and queries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from foreman.client.errors import ArgumentInvalid
from foreman.client.writing import text


def quoted(name: str) -> str:
    """Return the name quoted as one path segment."""
    return quote(text(name), safe="")


def fit(value: str, what: str) -> str:
    """Return the value of a request header. Raise ArgumentInvalid for other characters than visible ASCII."""
    if not value.isascii() or not value.isprintable():
        raise ArgumentInvalid(f"{what} cannot be sent", "use visible ASCII characters only")
    return value


def query(wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters as text, without those that are None; those of a mapping as NAME.KEY."""
    found = dict[str, str]()
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{text(key)}": text(str(inner)) for key, inner in value.items()}
        elif value is not None:
            found[name] = _shown(value)
    return found


def _shown(value: str | int | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else text(str(value))
