"""JSON of ours, of what callers give: what JSON has no words for is refused, not dropped; no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from foreman.client.errors import ArgumentInvalid


def encode(value: object) -> bytes:
    """Return the value as JSON; halves of surrogate pairs, which are no text, become U+FFFD.

    Raises ArgumentInvalid for a number that is infinite or none, ValueError and TypeError for what is no JSON at all.
    """
    try:
        written = msgspec.json.encode(value)
    except UnicodeEncodeError:
        value = _whole(value)
        written = msgspec.json.encode(value)
    if b"null" in written:  # as which msgspec writes such numbers
        _check(value, "")
    return written


def text(given: str) -> str:
    """Return the text with U+FFFD for halves of surrogate pairs, as arguments have for bytes that are no UTF-8."""
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
