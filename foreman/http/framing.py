"""Framing of streamed answers: NDJSON and SSE, large chunks in parts, comments while nothing comes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import trio

from foreman.actors.output import OutputItem, OutputReader
from foreman.domain import sse
from foreman.domain.endpoints import at

SLICE = 2**16  # bytes of a large chunk that each reader takes at a time
COMMENT_EVERY = 10.0  # seconds between the comments that keep an idle SSE connection open


class Ndjson:
    """NDJSON framing: one JSON value per line."""

    content_type = "application/x-ndjson"

    whole_name = None

    def chunk(self, data: bytes, name: bytes | None = None) -> bytes:
        """Return a framed JSON value."""
        return sse.on_one_line(data) + b"\n"

    def around(self, name: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the frame before and after a value sent in parts."""
        return b"", b"\n"

    def notice(self, value: object) -> bytes:
        """Return a framed message of Foreman's own."""
        return self.chunk(msgspec.json.encode(value))

    def end(self) -> bytes:
        """Return the end mark of the stream."""
        return b""


class Sse:
    """SSE framing: one JSON value per event, named and ended as in the endpoint's own stream."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, endpoint: str) -> None:
        self._typed = at(endpoint).typed
        self.whole_name = at(endpoint).whole_name

    def chunk(self, data: bytes, name: bytes | None = None) -> bytes:
        """Return a framed JSON value as an event with this name."""
        return sse.event(data, name)

    def around(self, name: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the frame before and after a value sent in parts as an event with this name."""
        return sse.begin(name), sse.END

    def notice(self, value: object) -> bytes:
        """Return a framed message of Foreman's own, named by its type on typed endpoints."""
        data = msgspec.json.encode(value)
        return self.chunk(data, _type_of(data) if self._typed else None)

    def end(self) -> bytes:
        """Return the end mark of the stream; typed endpoints have none."""
        return b"" if self._typed else b"data: [DONE]\n\n"


async def next_or_comment(reader: OutputReader, frame: Ndjson | Sse, comment: str) -> OutputItem | bytes:
    """Return the next item, or an SSE comment after COMMENT_EVERY seconds; NDJSON has no comments and waits."""
    if (item := reader.next_nowait()) is not None:
        return item
    if isinstance(frame, Ndjson):
        return await reader.next()
    with trio.move_on_after(COMMENT_EVERY):
        return await reader.next()
    return sse.comment(comment)


async def framed(frame: Ndjson | Sse, chunk: bytes, name: bytes | None, reader: OutputReader) -> AsyncIterator[bytes]:
    """Yield a large chunk in slices, as long as it is kept; readers share the chunk and copy one slice each."""

    async def slices() -> AsyncIterator[bytes]:
        for start in range(0, len(chunk), SLICE):
            if not reader.goes_on():
                break
            yield chunk[start : start + SLICE]

    before, after = frame.around(name)
    yield before
    async for part in in_one_line(slices()):
        yield part
    yield after


async def in_one_line(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a JSON text in parts, without line ends (see `on_one_line`).

    Line ends between tokens become blanks. Those within strings are escaped; their bytes may span two parts.
    """
    rest = b""
    async for part in parts:
        text = rest + part
        end = len(text)
        while end and text[end - 1] & 0xC0 == 0x80:  # the bytes of a character after its first one (RFC 3629)
            end -= 1
        if end and text[end - 1] >= 0xC0:
            end -= 1
        rest = text[end:]
        yield sse.on_one_line(text[:end].replace(b"\n", b" ").replace(b"\r", b" "))
    yield sse.on_one_line(rest)


def _type_of(data: bytes) -> bytes | None:
    kind = msgspec.json.decode(data, type=_Typed).type
    return kind.encode() if isinstance(kind, str) and _NAME.fullmatch(kind) else None


class _Typed(msgspec.Struct):
    type: Any = None


_NAME = re.compile(r"[\w.-]+")
