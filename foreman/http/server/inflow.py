"""The body of a request as it comes in, with backpressure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.typing import ConnectionState
from quart.wrappers import Request
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Lease
from foreman.domain.errors import GaveWay

ROOM = 2**18  # bytes of a body that are buffered before the sender has to wait
BODY = "body"  # key in a request's state: its body
HURRY = "hurry"  # key in a connection's state: a function that makes the client take its answer at once


class Inflow(TrioBody):
    """The body of a request, an async iterator with backpressure.

    Only routes read it, and auth runs before any route, so that callers without a token fill no more than the buffer.
    Bytes held while a client sends, or reads the answer, give way to others.
    """

    held: Lease  # the bytes of the request and its answer

    def __init__(self, state: ConnectionState) -> None:
        """Create an empty body of a request on a connection with this state."""
        super().__init__(None, None)
        self.hurry: Callable[[], None] = cast(dict[str, Any], state).get(HURRY, lambda: None)
        self._begun = False
        self._cut = False
        self._left = False
        self._wait: trio.CancelScope | None = None  # for the next part
        self._timeout = float("inf")
        self._taken: trio.Event | None = None  # set when the sender, who waits for room, may go on

    def admit(self, held: Lease, timeout: float) -> None:
        """Count the bytes by `held`, and wait at most `timeout` seconds for each part."""
        self.held = held
        self._timeout = timeout

    @property
    def whole(self) -> bool:
        """True once the whole body has arrived."""
        return self._complete.is_set()

    @property
    def here(self) -> bool:
        """True when the whole body has arrived and none of it has been read."""
        return self.whole and not self._begun

    def take(self) -> bytes:
        """Return the whole body, once it is `here`."""
        self._begun = True
        data = bytes(self._data)
        self._data.clear()
        return data

    async def __anext__(self) -> bytes:
        """Return the next part. Raise RequestTimeout when it is late, GaveWay when its room was taken."""
        if not self._begun:
            self._begun = True
            self.held.give_way(self.let_go)
        if not self._cut:
            if self._has_data.is_set() or self.whole:
                return await self._next()
            with trio.move_on_after(self._timeout) as self._wait:
                return await self._next()
        raise GaveWay(self.held.limit) if self._cut else RequestTimeout

    async def _next(self) -> bytes:
        try:
            data = await super().__anext__()
        except StopAsyncIteration:
            self.held.keep()
            raise
        self._make_room()
        return data

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
            self.clear()
            return
        with trio.move_on_after(seconds), suppress(RequestTimeout, GaveWay):
            async for _ in self:
                pass


def inflow(request: Request) -> Inflow:
    """Return the body of a request as an Inflow."""
    return cast(Inflow, request.body)
