"""Foreman's own fields of a submission: how each is read, and what the description of the API says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.errors import FieldInvalid
from foreman.domain.job import Priority, State
from foreman.domain.json_schema import NO_NUL, STATE, TIME, Schema, many, text, words
from foreman.domain.times import read_time

MAX_ATTEMPTS = 20
MAX_TIMEOUT = 30 * 86400  # seconds
MOST_OWN_BYTES = 2**18  # per field; fully escaped metadata may have 209 KB
MOST_SHOWN = 400  # bytes of an invalid value passed to an error, which shows fewer still


def read_field(name: str, raw: msgspec.Raw, field: Field) -> Any:
    """Return the value of a field, as it is read; None for null. Raise FieldInvalid."""
    value: Any = ...  # a value that every field rejects
    if size_of(raw) <= MOST_OWN_BYTES:
        with suppress(msgspec.DecodeError, RecursionError):  # such as a number out of range
            value = msgspec.json.decode(raw)
    if value is None and name != "model":
        return None
    try:
        return field.read(value)
    except ValueError as allowed:
        given = value if isinstance(value, str) else begin_of(raw)
        raise FieldInvalid(name, given, str(allowed)) from None


def size_of(raw: msgspec.Raw) -> int:
    """Return the size of a value in bytes without copying it."""
    return len(memoryview(raw))


def begin_of(raw: msgspec.Raw) -> str:
    """Return the beginning of an invalid value."""
    return bytes(memoryview(raw)[:MOST_SHOWN]).decode(errors="replace")


class Field(NamedTuple):
    """A field: how it is read, and its JSON schema."""

    read: Callable[[Any], Any]  # takes the decoded value; raises ValueError with the allowed values
    schema: Schema

    def about(self, description: str) -> Field:
        """Return the field with a description."""
        return self._replace(schema=self.schema | {"description": description})


def _text(length: int, *, least: int = 0) -> Field:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > length or "\0" in value:
            raise ValueError(f"must be text of at most {length} characters without NUL")
        return value

    return Field(read, text(length, least=least))


def _choice(names: Sequence[str], make: Callable[[str], Any]) -> Field:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return make(value)

    return Field(read, words(*names))


def _number(kind: type, low: float, high: float, allowed: str) -> Field:
    def read(value: Any) -> Any:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())  # 3.0 is a whole number
        if isinstance(value, bool) or not (whole if kind is int else isinstance(value, (int, float))):
            raise ValueError(allowed)
        if not low <= value <= high:
            raise ValueError(allowed)
        return kind(value)

    return Field(read, {"type": "integer" if kind is int else "number", "minimum": low, "maximum": high})


def _metadata(value: Any) -> dict[str, str]:
    good = isinstance(value, dict) and len(value) <= 16 and all(len(key) <= 64 and "\0" not in key for key in value)
    if not good or not all(isinstance(v, str) and len(v) <= 1024 and "\0" not in v for v in value.values()):
        raise ValueError("must be an object of at most 16 strings of at most 1024 characters, its keys of at most 64")
    return dict(value)


def _states(value: Any) -> tuple[State, ...]:
    names = [state.value for state in State]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v in names for v in value):
        raise ValueError(f"must be a list of states out of {', '.join(names)}")
    return tuple(State(name) for name in dict.fromkeys(value))


METADATA: Schema = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": {"maxLength": 64, "pattern": NO_NUL},
    "additionalProperties": text(1024),
}
MODEL = _text(256, least=1).about("Name or alias of a model of the target.")  # not Foreman's own: the target reads it
OWN: dict[str, Field] = {
    "endpoint": _choice(ENDPOINTS, str).about("Endpoint of the target; /api/chat by default."),
    "priority": _choice([p.word for p in Priority], lambda word: Priority[word.upper()]).about("normal by default."),
    "not_before": Field(read_time, TIME).about("Earliest start; at most 100 years from now."),
    "start_by": Field(read_time, TIME).about(
        "Latest start, after which the job expires; must be later than not_before."
    ),
    "timeout": _number(float, 0.001, MAX_TIMEOUT, f"must be a number of seconds above 0 and up to {MAX_TIMEOUT}").about(
        "Seconds for each attempt."
    ),
    "max_attempts": _number(int, 1, MAX_ATTEMPTS, f"must be a whole number from 1 to {MAX_ATTEMPTS}"),
    "metadata": Field(_metadata, METADATA),
    "custom_id": _text(64),
    "state_webhook_url": _text(2048).about("Receives the job's events."),
    "webhook_events": Field(_states, many(STATE) | {"minItems": 1}).about(
        "States whose events are sent; all by default."
    ),
}
RENAMED = {"state_webhook_url": "webhook_url"}
