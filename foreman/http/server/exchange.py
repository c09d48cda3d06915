"""One request and its answer over ASGI: bodies wait for their reader, and a stream always learns of its end."""

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

ROOM = 2**18  # bytes of a body that wait for their reader before the sender has to
GLANCE = 0.25  # seconds for the rest of a request that is answered before its end, if it is on its way already
LINGER = 2  # seconds in which what comes after such an answer is thrown away, for the sender to read the answer
BODY_TIMEOUT = "BODY_TIMEOUT"  # what Quart calls the seconds for a body
HURRY = "hurry"  # what the server calls, in the state of a connection, to have its client take an answer at once


class Exchange(TrioASGIHTTPConnection):
    """What Quart does for a request, but: bodies wait for their reader, a refused request is read to its end, a whole
    answer is sent in one go, and a stream is closed however it ends."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
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
        await super().handle_messages(nursery, request, partial(_with_room, inflow(request), receive))

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        with inflow(request).held:
            await self._answer(request, send)
        nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, send: ASGISendCallable) -> None:
        response = await self.app.handle_request(request)
        body = inflow(request)
        await body.discard(GLANCE)
        body.held.give_way(body.let_go)
        if not body.whole:
            response.headers["Connection"] = "close"  # what was not read would be taken for the next request
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
            # A caller may leave before the body was begun, and then Quart does not close it.
            streamed: Any = response.response
            if isinstance(streamed, IterableBody) and hasattr(streamed.iter, "aclose"):
                await streamed.iter.aclose()


async def _send_whole(send: ASGISendCallable, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Quart would tell of the body and of its end apart, each with a round through the server."""
    await send(cast(HTTPResponseStartEvent, {"type": "http.response.start", "status": status, "headers": headers}))
    await send(cast(HTTPResponseBodyEvent, {"type": "http.response.body", "body": body, "more_body": False}))


class Inflow(TrioBody):
    """The body of a request, to be iterated over; whoever sends faster than it is read has to wait.

    So nothing is taken in before a route asks for it, which none does before the gate has let the request pass.
    What is held while a client sends, or reads the answer, gives way to others.
    """

    def __init__(self, timeout: float, held: Lease, hurry: Callable[[], None]) -> None:
        """`patience` is how many seconds the next piece may take to come; `held` counts what is kept of the request
        and of its answer; `hurry` has the client take the answer at once or not at all."""
        super().__init__(None, None)
        self.held = held
        self.hurry = hurry
        self._begun = False
        self._cut = False
        self._wait = trio.CancelScope()  # for the next piece
        self._timeout = timeout
        self._read = trio.Event()

    @property
    def whole(self) -> bool:
        """Whether all of it has come."""
        return self._complete.is_set()

    async def __anext__(self) -> bytes:
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
        """Keep nothing of a request whose client is slow."""
        self._cut = True
        self._wait.cancel()
        self.hurry()

    async def wait_room(self) -> None:
        while len(self._data) > ROOM and not self.whole:
            await self._read.wait()

    async def discard(self, seconds: float) -> None:
        """Throw away what comes, until all of it has come or the time is over."""
        with trio.move_on_after(seconds), suppress(RequestTimeout, GaveWay):
            async for _ in self:
                pass


def inflow(request: Request) -> Inflow:
    """Return the body of a request as it comes in."""
    return cast(Inflow, request.body)


async def _with_room(body: Inflow, receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
    await body.wait_room()
    return await receive()


async def _send_and_linger(body: Inflow, send: ASGISendCallable, event: ASGISendEvent) -> None:
    """Send an answer that comes before the end of its request.

    The connection ends behind it. Closed while the caller still sends, it would be reset, and the answer lost: so what
    comes is thrown away for a while, once the caller has all of the answer but its end.
    """
    if event["type"] == "http.response.body" and not event.get("more_body", False):
        await send({**event, "more_body": True})
        await body.discard(LINGER)
        event = {"type": "http.response.body", "body": b"", "more_body": False}
    await send(event)
