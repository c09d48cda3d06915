"""Encode values of callers as JSON; refuse, never drop, those that JSON cannot hold; no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from foreman.client.errors import ArgumentInvalid


def encode(value: object) -> bytes:
    """Return the value as JSON; lone surrogates become U+FFFD.

    Raise ArgumentInvalid for NaN and infinite numbers, ValueError and TypeError for values of other types.
    """
    try:
        written = msgspec.json.encode(value)
    except UnicodeEncodeError:
        value = _whole(value)
        written = msgspec.json.encode(value)
    if b"null" in written:  # msgspec writes NaN and infinity as null
        _check(value, "")
    return written


def text(given: str) -> str:
    """Return the text with U+FFFD for lone surrogates, which Python reads from arguments that are not UTF-8."""
    return given.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole(value: Any) -> Any:
    match value:
        case str():
            return text(value)
        case Mapping():
            return {_whole(name): _whole(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_whole(inner) for inner in value]
    return value


def _check(value: Any, place: str) -> None:
    match value:
        case float() if not math.isfinite(value):
            raise ArgumentInvalid(f"{place or 'it'} is {value}", "JSON has no such number")
        case Mapping():
            for name, inner in value.items():
                _check(inner, f"{place}.{name}" if place else str(name))
        case list() | tuple():
            for number, inner in enumerate(value):
                _check(inner, f"{place}.{number}")
