"""A piece of an answer on its way from the target to the caller."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec


class Usage(Enum):
    """The usage in a chunk, which Foreman asked for and the caller may not expect."""

    NONE = "none"  # or one that the server sends unasked
    EMPTY = "empty"
    ALONE = "alone"  # the chunk has nothing else


class Label(msgspec.Struct, frozen=True, gc=False):
    """What a chunk's way to the caller depends on besides its bytes; equal ones are one object."""

    name: bytes | None = None  # of its server-sent event
    usage: Usage = Usage.NONE


NO_LABEL = Label()
named = lru_cache(maxsize=256)(Label)  # types of events are few
EMPTY_USAGE = Label(usage=Usage.EMPTY)
USAGE_ALONE = Label(usage=Usage.ALONE)


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an answer in the endpoint's own shape.

    `data` is one JSON value without line ends: an NDJSON line of `/api/*`, the data of one SSE event of `/v1/*`.
    `last` marks the one that closes the answer (`done: true`, or the only one of an answer that is not streamed).
    `value` is `data` decoded, where the target has it; the reader of the chunk may change it. `whole` is the target's
    answer when it did not stream and the chunks were made from it. `cut` marks a chunk without data: the answer has
    ended without its last mark.
    """

    data: bytes
    last: bool = False
    value: dict[str, Any] | None = None
    whole: bytes | None = None
    cut: bool = False
