"""The body of a request as it comes in, with backpressure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.typing import ConnectionState
from quart.wrappers import Request
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Lease
from foreman.domain.errors import GaveWay

ROOM = 2**18  # bytes of a body that are buffered before the sender has to wait
BODY = "body"  # key in a request's state: its body
HURRY = "hurry"  # key in a connection's state: a function that makes the client take its answer at once


class Inflow:
    """The body of a request, an async iterator with backpressure; it takes the place of Quart's.

    Only routes read it, and auth runs before any route, so that callers without a token fill no more than the buffer.
    Bytes held while a client sends, or reads the answer, give way to others.
    """

    held: Lease  # the bytes of the request and its answer

    def __init__(self, state: ConnectionState) -> None:
        """Create an empty body of a request on a connection with this state."""
        self.hurry: Callable[[], None] = cast(dict[str, Any], state).get(HURRY, lambda: None)
        self.whole = False  # the whole body has arrived
        self._data = bytearray()  # arrived, and not read
        self._begun = False
        self._cut = False
        self._left = False
        self._wait: trio.CancelScope | None = None  # for the next part
        self._timeout = float("inf")
        self._arrived: trio.Event | None = None  # set when the reader, who waits for data, may go on
        self._taken: trio.Event | None = None  # set when the sender, who waits for room, may go on

    def admit(self, held: Lease, timeout: float) -> None:
        """Count the bytes by `held`, and wait at most `timeout` seconds for each part."""
        self.held = held
        self._timeout = timeout

    def append(self, data: bytes) -> None:
        """Add data that has arrived."""
        self._data += data
        self._wake_reader()

    def set_complete(self) -> None:
        """End the body."""
        self.whole = True
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    @property
    def here(self) -> bool:
        """True when the whole body has arrived and none of it has been read."""
        return self.whole and not self._begun

    def take(self) -> bytes:
        """Return what has arrived and was not read."""
        self._begun = True
        data = bytes(self._data)
        self._data.clear()
        self._make_room()
        return data

    def __aiter__(self) -> Inflow:
        """Return the body itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next part. Raise RequestTimeout when it is late, GaveWay when its room was taken."""
        if not self._begun:
            self._begun = True
            self.held.give_way(self)
        if not (self._data or self.whole or self._cut):
            with trio.move_on_after(self._timeout) as self._wait:
                while not (self._data or self.whole):
                    self._arrived = trio.Event()
                    await self._arrived.wait()
        if self._cut:
            raise GaveWay(self.held.limit)
        if self._data:
            return self.take()
        if self.whole:
            self.held.keep()
            raise StopAsyncIteration
        raise RequestTimeout

    def let_go(self) -> None:
        """Drop the request of a slow client."""
        self._cut = True
        if self._wait is not None:
            self._wait.cancel()
        self.hurry()

    def leave(self) -> None:
        """Let the sender go on: nothing more is read."""
        self._left = True
        self._make_room()

    def _make_room(self) -> None:
        if self._taken is not None:
            self._taken.set()
            self._taken = None

    async def wait_room(self) -> None:
        """Return once the buffer has room, or nothing more is read."""
        while len(self._data) > ROOM and not self._left:
            self._taken = trio.Event()
            await self._taken.wait()

    async def discard(self, seconds: float) -> None:
        """Discard the rest of the body, for at most `seconds`."""
        if self.whole:
            self._data.clear()
            return
        with trio.move_on_after(seconds), suppress(RequestTimeout, GaveWay):
            async for _ in self:
                pass


def inflow(request: Request) -> Inflow:
    """Return the body of a request as an Inflow."""
    return cast(Inflow, cast(object, request.body))
