"""A piece of an answer on its way from the target to the caller."""

from __future__ import annotations

from typing import Any

import msgspec


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
