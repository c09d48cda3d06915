"""Foreman's own fields of a submission: what each may hold, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.errors import FieldInvalid
from foreman.domain.job import Priority, State
from foreman.domain.times import read_time

MAX_ATTEMPTS = 20
MAX_TIMEOUT = 30 * 86400  # seconds
MODEL_LENGTH = 256
MOST_OWN_BYTES = 2**18  # per field; fully escaped metadata may have 209 KB
MOST_SHOWN = 400  # bytes of an invalid value passed to an error, which shows fewer still


def read_field(name: str, raw: msgspec.Raw, reader: Callable[[Any], Any]) -> Any:
    """Return the value of a field, as `reader` takes it; None for null. Raise FieldInvalid."""
    value: Any = ...  # a value that every reader rejects
    if size_of(raw) <= MOST_OWN_BYTES:
        with suppress(msgspec.DecodeError, RecursionError):  # such as a number out of range
            value = msgspec.json.decode(raw)
    if value is None and name != "model":
        return None
    try:
        return reader(value)
    except ValueError as allowed:
        given = value if isinstance(value, str) else begin_of(raw)
        raise FieldInvalid(name, given, str(allowed)) from None


def size_of(raw: msgspec.Raw) -> int:
    """Return the size of a value in bytes without copying it."""
    return len(memoryview(raw))


def begin_of(raw: msgspec.Raw) -> str:
    """Return the beginning of an invalid value."""
    return bytes(memoryview(raw)[:MOST_SHOWN]).decode(errors="replace")


# One reader per field: takes the decoded value, raises ValueError with the allowed values.


def _text(length: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > length or "\0" in value:
            raise ValueError(f"must be text of at most {length} characters without NUL")
        return value

    return read


def _choice(names: Sequence[str], make: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return make(value)

    return read


def _number(kind: type, low: float, high: float, allowed: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())  # 3.0 is a whole number
        if isinstance(value, bool) or not (whole if kind is int else isinstance(value, (int, float))):
            raise ValueError(allowed)
        if not low <= value <= high:
            raise ValueError(allowed)
        return kind(value)

    return read


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


MODEL = _text(MODEL_LENGTH)  # not one of Foreman's own: the target reads it too
OWN: dict[str, Callable[[Any], Any]] = {
    "state_webhook_url": _text(2048),
    "webhook_events": _states,
    "endpoint": _choice(ENDPOINTS, str),
    "priority": _choice([p.word for p in Priority], lambda word: Priority[word.upper()]),
    "not_before": read_time,
    "start_by": read_time,
    "timeout": _number(float, 0.001, MAX_TIMEOUT, f"must be a number of seconds above 0 and up to {MAX_TIMEOUT}"),
    "max_attempts": _number(int, 1, MAX_ATTEMPTS, f"must be a whole number from 1 to {MAX_ATTEMPTS}"),
    "metadata": _metadata,
    "custom_id": _text(64),
}
RENAMED = {"state_webhook_url": "webhook_url"}
