"""Pieces of JSON schema that requests and answers share."""

from __future__ import annotations

from typing import Any, TypeAlias

from foreman.domain.job import Priority, State

Schema: TypeAlias = dict[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
NO_NUL = r"^[^\u0000]*$"


def words(*allowed: str) -> Schema:
    """Return the schema of a string out of `allowed`."""
    return {"type": "string", "enum": list(allowed)}


def text(longest: int, *, least: int = 0) -> Schema:
    """Return the schema of a string of `least` to `longest` characters, without NUL."""
    return {"type": "string", "minLength": least, "maxLength": longest, "pattern": NO_NUL}


def many(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


PRIORITY = words(*(priority.word for priority in Priority))
STATE = words(*(state.value for state in State))
