"""Decode JSON from a server; every defect is a msgspec.DecodeError; no I/O."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from foreman.domain.json_weight import has_more_values

T = TypeVar("T")


MOST_VALUES = 4_000_000  # in one text; 64 MiB of embeddings hold about as many numbers


class TooMuch(msgspec.DecodeError):
    """A JSON text holds more than MOST_VALUES values."""


def decode(data: bytes | str, kind: type[T]) -> T:
    """Return the JSON as a value of `kind`. Raise msgspec.DecodeError, or TooMuch before any value is built."""
    if len(data) > MOST_VALUES and has_more_values(data if isinstance(data, bytes) else data.encode(), MOST_VALUES):
        raise TooMuch(f"more than {MOST_VALUES:,} values")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8 at byte {error.start}") from None
