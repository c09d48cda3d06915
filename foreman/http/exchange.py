"""One request and its answer over ASGI: uploads are never held in memory, and a stream always learns of its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart.wrappers.response import IterableBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import RequestTimeout

UPLOADS = "/api/blobs/"  # whole models, far beyond what a request may otherwise hold
ROOM = 2**20  # bytes of an upload that wait for its reader before the sender has to
PATIENCE = 60  # seconds for the next piece of an upload


class Exchange(TrioASGIHTTPConnection):
    """What Quart does for a request, with two changes."""

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        if request.path.startswith(UPLOADS):
            request.body = Upload()
        return request

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        if isinstance(request.body, Upload):
            receive = partial(_with_room, request.body, receive)
        await super().handle_messages(nursery, request, receive)

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        try:
            await super()._send_response(send, response)
        finally:
            # A caller may leave before the body was begun, and then Quart does not close it.
            body: Any = response.response
            if isinstance(body, IterableBody) and hasattr(body.iter, "aclose"):
                await body.iter.aclose()


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


async def _with_room(body: Upload, receive: Callable[[], Awaitable[ASGIReceiveEvent]]) -> ASGIReceiveEvent:
    await body.wait_room()
    return await receive()
