"""One request and its answer over ASGI, with backpressure on bodies and reliable closing of streams."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers import Request
from quart.wrappers.response import DataBody, IterableBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Lease
from foreman.domain.errors import GaveWay
from foreman.http.context import KEY, Context

ROOM = 2**18  # bytes of a body that are buffered before the sender has to wait
DISCARD_TIMEOUT = 0.25  # seconds to receive the rest of a request that is answered before its end
LINGER = 2  # seconds in which the rest is discarded after such an answer, so that the sender can read it
BODY_TIMEOUT = "BODY_TIMEOUT"  # Quart's config key for the seconds a body may take
HURRY = "hurry"  # key in a connection's state: a function that makes the client take its answer at once


class Exchange(TrioASGIHTTPConnection):
    """Quart's handling of a request, with four changes.

    Bodies have backpressure, a refused request is read to its end, a whole answer is sent in one go, and a stream is
    closed however it ends.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle the request."""
        request = self._create_request_from_scope(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_request, nursery, request, send)
            await self.handle_messages(nursery, request, receive)

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        budget = cast(Context, self.app.extensions[KEY]).budget
        state = cast(dict[str, Any], request.scope.get("state", {}))
        request.body = Inflow(self.app.config[BODY_TIMEOUT], budget.lease(), state.get(HURRY, lambda: None))
        return request

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Receive the request, waiting while its buffer is full."""
        await super().handle_messages(nursery, request, partial(_with_room, inflow(request), receive))

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Answer the request, and end its lease."""
        with inflow(request).held:
            await self._answer(request, send)
        nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, send: ASGISendCallable) -> None:
        response = await self.app.handle_request(request)
        body = inflow(request)
        await body.discard(DISCARD_TIMEOUT)
        body.held.give_way(body.let_go)
        if not body.whole:
            response.headers["Connection"] = "close"  # the unread rest would be taken for the next request
            send = partial(_send_and_linger, body, send)
        seconds: Any = getattr(response, "timeout", ...)
        if seconds is ...:
            seconds = self.app.config["RESPONSE_TIMEOUT"]
        if seconds is None or isinstance(response.response, DataBody):
            await self._send_response(send, response)
        else:
            with trio.move_on_after(seconds):
                await self._send_response(send, response)

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        try:
            if isinstance(whole := response.response, DataBody):
                body = whole.data[whole.begin : whole.end]
                await _send_whole(send, response.status_code, encode_headers(response.headers), body)
            else:
                await super()._send_response(send, response)
        finally:
            # Quart does not close a body that was not begun when its caller left.
            streamed: Any = response.response
            if isinstance(streamed, IterableBody) and hasattr(streamed.iter, "aclose"):
                await streamed.iter.aclose()


async def _send_whole(send: ASGISendCallable, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send an answer in two events; Quart would send a third one for the end."""
    await send(cast(HTTPResponseStartEvent, {"type": "http.response.start", "status": status, "headers": headers}))
    await send(cast(HTTPResponseBodyEvent, {"type": "http.response.body", "body": body, "more_body": False}))


class Inflow(TrioBody):
    """The body of a request, an async iterator with backpressure.

    Only routes read it, and auth runs before any route, so that callers without a token fill no more than the buffer.
    Bytes held while a client sends, or reads the answer, give way to others.
    """

    def __init__(self, timeout: float, held: Lease, hurry: Callable[[], None]) -> None:
        """Wait at most `timeout` seconds for each part of the body.

        `held` counts the bytes of the request and its answer; `hurry` makes the client take the answer at once.
        """
        super().__init__(None, None)
        self.held = held
        self.hurry = hurry
        self._begun = False
        self._cut = False
        self._wait = trio.CancelScope()  # for the next part
        self._timeout = timeout
        self._read = trio.Event()

    @property
    def whole(self) -> bool:
        """True once the whole body has arrived."""
        return self._complete.is_set()

    async def __anext__(self) -> bytes:
        """Return the next part. Raise RequestTimeout when it is late, GaveWay when its room was taken."""
        if not self._begun:
            self._begun = True
            self.held.give_way(self.let_go)
        if not self._cut:
            with trio.move_on_after(self._timeout) as self._wait:
                try:
                    data = await super().__anext__()
                except StopAsyncIteration:
                    self.held.keep()
                    raise
                self._read.set()
                self._read = trio.Event()
                return data
        raise GaveWay(self.held.limit) if self._cut else RequestTimeout

    def let_go(self) -> None:
        """Drop the request of a slow client."""
        self._cut = True
        self._wait.cancel()
        self.hurry()

    async def wait_room(self) -> None:
        """Return once the buffer has room, or the whole body has arrived."""
        while len(self._data) > ROOM and not self.whole:
            await self._read.wait()

    async def discard(self, seconds: float) -> None:
        """Discard the rest of the body, for at most `seconds`."""
        with trio.move_on_after(seconds), suppress(RequestTimeout, GaveWay):
            async for _ in self:
                pass


def inflow(request: Request) -> Inflow:
    """Return the body of a request as an Inflow."""
    return cast(Inflow, request.body)


async def _with_room(body: Inflow, receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
    await body.wait_room()
    return await receive()


async def _send_and_linger(body: Inflow, send: ASGISendCallable, event: ASGISendEvent) -> None:
    """Send an answer before the end of its request.

    The connection ends after it. Closing it while the caller still sends would reset it and lose the answer, so the
    rest of the request is discarded for a while before the end of the answer is sent.
    """
    if event["type"] == "http.response.body" and not event.get("more_body", False):
        await send({**event, "more_body": True})
        await body.discard(LINGER)
        event = {"type": "http.response.body", "body": b"", "more_body": False}
    await send(event)
