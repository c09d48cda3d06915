"""Bodies of answers that are in the store: read part by part, each once the reader has taken the one before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import TracebackType

from quart import Response, request
from quart.wrappers.response import ResponseBody
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from foreman.domain.errors import ArtifactNotFound, RangeInvalid
from foreman.http.body import held
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

PIECE = 2**19  # bytes per read; a read walks all database pages before it
AT_ONCE = 2 * PIECE  # bytes that each reader holds in memory

Part = Callable[[Reader, int, int], bytes | None]  # reads so many bytes from a place on


def artifact_part(job_id: str, name: str | None) -> Part:
    """Return what reads parts of an artifact; of the job's request if `name` is None."""

    def part(store: Reader, begin: int, size: int) -> bytes | None:
        return store.content(job_id, name, begin=begin, size=size)

    return part


async def pieces(readers: Readers, part: Part, begin: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes from `begin` up to `end`. Raise ArtifactNotFound when they are deleted meanwhile."""
    while begin < end:
        size = min(PIECE, end - begin)
        piece = await readers.insist(partial(_piece, part, begin, size))
        if not piece:
            raise ArtifactNotFound
        begin += len(piece)
        yield piece


def _piece(part: Part, begin: int, size: int, store: Reader) -> bytes | None:
    return part(store, begin, size)


class Stored(ResponseBody):
    """Bytes in the store, such as those of an artifact or a request, with a prefix and a suffix; supports ranges."""

    def __init__(
        self,
        readers: Readers,
        part: Part,
        size: int,
        *,
        before: bytes = b"",
        after: bytes = b"",
        at_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Read a part of the store; `at_end` is awaited when it was sent, or its reader has left."""
        self._at_end = at_end
        self._readers = readers
        self._part = part
        self._size = size
        self._before = before
        self._after = after
        self.begin = 0
        self.end = self.whole = len(before) + size + len(after)

    async def __aenter__(self) -> Stored:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._at_end is not None:
            await self._at_end()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        start = len(self._before)
        if part := self._before[self.begin : self.end]:
            yield part
        begin, end = max(0, self.begin - start), min(self._size, self.end - start)
        async for piece in pieces(self._readers, self._part, begin, end):
            yield piece
        if part := self._after[max(0, self.begin - start - self._size) : max(0, self.end - start - self._size)]:
            yield part

    async def make_conditional(self, begin: int, end: int | None) -> int:
        """Narrow the body to a range, counted from its end if `begin` is negative (RFC 9110, 14.1.2).

        Return the whole length in bytes. Raise RequestedRangeNotSatisfiable for an empty range.
        """
        self.begin = max(0, self.whole + begin) if begin < 0 else begin
        self.end = self.whole if end is None else min(end, self.whole)
        if self.begin >= self.end:
            raise RequestedRangeNotSatisfiable
        return self.whole


def stored_answer(body: Stored, content_type: str = "application/json", *, due: bool = False) -> Response:
    """Return a stored body as an answer without a timeout.

    Raise MemoryFull when it finds no room, unless it is `due`: the answer to a call, which could not be repeated.
    """
    lease = held()
    lease.resize(lease.size + min(body.whole, AT_ONCE), insist=due)
    response = Response(body, content_type=content_type)
    response.headers["Content-Length"] = str(body.whole)
    response.timeout = None
    return response


async def ranged(response: Response, size: int) -> Response:
    """Return an answer of so many bytes, or the one byte range or the 304 that was asked for. Raise RangeInvalid."""
    response.headers["Accept-Ranges"] = "bytes"
    asked = request.headers.get("Range", "")
    one = asked.lower().startswith("bytes=") and "," not in asked
    try:  # without a length, ranges are ignored, as RFC 9110, 14.2, permits
        return await response.make_conditional(request, accept_ranges=True, complete_length=size if one else None)
    except RequestedRangeNotSatisfiable:
        raise RangeInvalid(asked, size) from None
