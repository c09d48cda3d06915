"""JSON of others: whatever is wrong with it is one kind of fault; no I/O."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from foreman.domain.json_weight import has_more_values

T = TypeVar("T")


MOST_VALUES = 4_000_000  # of one text: as many as 64 MiB of embeddings have numbers


class TooMuch(msgspec.DecodeError):
    """A text holds more values than are to be built of one."""


def decode(data: bytes | str, kind: type[T]) -> T:
    """What the JSON says, as a value of `kind`. Raises msgspec.DecodeError, TooMuch before anything is built."""
    if len(data) > MOST_VALUES and has_more_values(data if isinstance(data, bytes) else data.encode(), MOST_VALUES):
        raise TooMuch(f"more than {MOST_VALUES:,} values")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8 at byte {error.start}") from None
