"""One request and its answer over ASGI: uploads are never held in memory, and a stream always learns of its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers import Request
from quart.wrappers.request import Body
from quart.wrappers.response import DataBody, IterableBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import RequestTimeout

UPLOADS = "/api/blobs/"  # whole models, far beyond what a request may otherwise hold
LINES = "application/x-ndjson"  # many jobs, read as they come
ROOM = 2**20  # bytes of an upload that wait for its reader before the sender has to
TOO_LARGE = 413
LINGER = 2  # seconds for the rest of a request that is answered before its end
PATIENCE = 60  # seconds for the next piece of an upload


class Exchange(TrioASGIHTTPConnection):
    """What Quart does for a request, but: uploads wait for their reader, a refused request is read to its end, a whole
    answer is sent in one go, and a stream is closed however it ends."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._create_request_from_scope(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_request, nursery, request, send)
            await self.handle_messages(nursery, request, receive)

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        if request.path.startswith(UPLOADS) or (request.path == "/jobs" and request.mimetype == LINES):
            request.body = Upload()
        return request

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        if isinstance(request.body, Upload):
            receive = partial(_with_room, request.body, receive)
        await super().handle_messages(nursery, request, receive)

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        response = await self.app.handle_request(request)
        await _rest_of(request.body)
        if response.status_code == TOO_LARGE or not request.body._complete.is_set():
            response.headers["Connection"] = "close"  # what was not read would be taken for the next request
        seconds: Any = getattr(response, "timeout", ...)
        if seconds is ...:
            seconds = self.app.config["RESPONSE_TIMEOUT"]
        if seconds is None or isinstance(response.response, DataBody):
            await self._send_response(send, response)
        else:
            with trio.move_on_after(seconds):
                await self._send_response(send, response)
        nursery.cancel_scope.cancel()

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


class Upload(TrioBody):
    """A body of any length, to be iterated over; whoever sends faster than it is read has to wait."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self._read = trio.Event()

    async def __anext__(self) -> bytes:
        with trio.move_on_after(PATIENCE):
            data = await super().__anext__()
            self._read.set()
            self._read = trio.Event()
            return data
        raise RequestTimeout

    async def wait_room(self) -> None:
        while len(self._data) > ROOM:
            await self._read.wait()


async def _rest_of(body: Body) -> None:
    """Let the rest of a request in before it is answered, for a while.

    An answer that comes before the end of its request leaves the connection in a state in which Hypercorn never reads
    the next one; a refused token or an unknown route would cost a client with a kept connection its patience.
    """
    if not body._complete.is_set():
        with trio.move_on_after(LINGER):
            if isinstance(body, Upload):
                async for _ in body:
                    pass
            else:
                await body._complete.wait()


async def _with_room(body: Upload, receive: Callable[[], Awaitable[ASGIReceiveEvent]]) -> ASGIReceiveEvent:
    await body.wait_room()
    return await receive()
