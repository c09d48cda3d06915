"""The chunks of an answer as they arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.failures import ODD
from foreman.domain.answers.parsers import DONE, Parser
from foreman.domain.answers.refusals import error_of
from foreman.domain.errors import TargetError, TargetGarbled, TargetLost
from foreman.offload import LIGHT, offload
from foreman.targets.http.connection import Response
from foreman.targets.http.pool import Client

ERROR_LIMIT = 65_536  # bytes read of an error body
END_TIMEOUT = 1.0  # seconds for the usage and the last mark after a complete answer
TAIL_TIMEOUT = 0.05  # seconds for the end of the body after a complete answer, to keep the connection


class Decoding(Protocol):
    """Conversion of the JSON values of a stream into chunks; see `Decoder`."""

    @property
    def closed(self) -> bool:
        """Return True if the answer is complete and closed."""

    @property
    def ending(self) -> bool:
        """Return True if only the usage or a last mark may still come."""

    def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
        """Return the chunks that the next value makes; `whole` marks a body that is one value."""

    def end(self, *, framed: bool) -> list[Chunk]:
        """Return the chunks left at the end of the body; `framed` marks an end that the body itself announced."""


class Chunks:
    """An asynchronous iterator over the chunks of one answer, up to the closing one."""

    def __init__(
        self,
        response: Response,
        parser: Parser,
        decoding: Decoding,
        target: str,
        took: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Call `took` with the size in bytes of each piece of the body before it is kept; it may raise to refuse it."""
        self._target = target
        self._took = took
        self._response = response
        self._parser = parser
        self._decoding = decoding
        self._values: deque[bytes] = deque()
        self._ready: deque[Chunk] = deque()
        self._size = 0  # bytes received
        self._ended = False  # nothing more comes
        self._framed = False  # and the body announced it
        self._last_call: float | None = None  # deadline for the last mark, in Trio's time

    @property
    def closed(self) -> bool:
        """Return True if the target has sent all of the answer."""
        return self._decoding.closed

    async def finish(self) -> None:
        """Read the end of the body of a complete answer, if it comes soon: that keeps the connection."""
        if not self._response.over:
            with trio.move_on_after(TAIL_TIMEOUT):
                await self._response.read_some(ERROR_LIMIT)

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Chunk:
        while not self._ready:
            if self._values:  # one by one: an error in the second must not cost the first
                await self._take(self._values.popleft())
            elif self._decoding.closed:
                raise StopAsyncIteration
            elif self._ended:
                self._ready.extend(await offload(self._size, self._end))
            elif self._decoding.ending:
                await self._receive_last()
            else:
                await self._receive()
        return self._ready.popleft()

    async def _take(self, value: bytes) -> None:
        # The last mark may release all that was held back before it.
        size = self._size if value.startswith(DONE) else len(value)
        try:
            self._ready.extend(self._decode(value) if size <= LIGHT else await offload(size, self._decode, value))
        except TargetGarbled:
            if self._decoding.closed or not (self._ended and self._decoding.ending):
                raise  # else: the body broke off in a part that is not needed

    def _decode(self, value: bytes) -> list[Chunk]:
        try:
            return self._decoding.take(value, whole=self._parser.whole)
        except ODD as error:
            raise self._odd(error) from error

    def _end(self) -> list[Chunk]:
        try:
            return self._decoding.end(framed=self._framed)
        except ODD as error:
            raise self._odd(error) from error

    def _odd(self, error: Exception) -> TargetGarbled:
        return TargetGarbled(self._target, f"a chunk of an unknown shape ({type(error).__name__})")

    async def _receive(self) -> None:
        data = await self._response.receive()
        self._took(len(data))
        self._size += len(data)
        if data:
            self._values.extend(self._parser.feed(data))
        else:
            self._ended, self._framed = True, self._response.framed
            self._values.extend(await offload(self._size, self._parser.end))

    async def _receive_last(self) -> None:
        """Receive the rest of a complete answer; it comes soon or is not needed."""
        self._last_call = self._last_call or trio.current_time() + END_TIMEOUT
        with trio.move_on_at(self._last_call) as scope:
            try:
                await self._receive()
            except (TargetLost, TargetGarbled):
                self._ended = True
        self._ended = self._ended or scope.cancelled_caught


async def error_in(client: Client, response: Response) -> TargetError:
    """Read an error response and return its error, which does not tell the client's token."""
    body = client.without_token(await response.read_some(ERROR_LIMIT))
    return error_of(client.name, response.status, response.headers, body, now=time.time())
