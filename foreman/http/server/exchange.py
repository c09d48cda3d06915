"""One request and its answer by Quart: refused requests are read to their end, and streams are closed."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
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

from foreman.http.context import KEY, Context
from foreman.http.server.asgi_stream import WHOLE
from foreman.http.server.inflow import Inflow, inflow
from foreman.http.server.received import ReceivedRequest

DISCARD_TIMEOUT = 0.25  # seconds to receive the rest of a request that is answered before its end
LINGER = 2  # seconds in which the rest is discarded after such an answer, so that the sender can read it
BODY_TIMEOUT = "BODY_TIMEOUT"  # Quart's config key for the seconds a body may take


class Exchange(TrioASGIHTTPConnection):
    """Quart's handling of a request, with four changes.

    The body comes from the stream without a task of its own, a refused request is read to its end, a whole answer is
    sent in one go, and a stream is closed however it ends.
    """

    async def __call__(self, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle the request, and end its lease. The stream cancels it when the client has left."""
        request = ReceivedRequest(self.scope)
        budget = cast(Context, self.app.extensions[KEY]).budget
        with budget.lease() as lease:
            inflow(request).admit(lease, self.app.config[BODY_TIMEOUT])
            await self._answer(request, send)

    async def _answer(self, request: Request, send: ASGISendCallable) -> None:
        response = await self.app.handle_request(request)
        body = inflow(request)
        await body.discard(DISCARD_TIMEOUT)
        body.held.give_way(body)
        if not body.whole:
            response.headers["Connection"] = "close"  # the unread rest would be taken for the next request
            send = partial(_send_and_linger, body, send)
        seconds: Any = None if isinstance(response.response, DataBody) else getattr(response, "timeout", ...)
        if seconds is ...:
            seconds = self.app.config["RESPONSE_TIMEOUT"]
        if seconds is None:
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
    """Send an answer in two events, whose bytes leave together; Quart would send a third one for the end."""
    start = {"type": "http.response.start", "status": status, "headers": headers, WHOLE: True}
    await send(cast(HTTPResponseStartEvent, start))
    await send(cast(HTTPResponseBodyEvent, {"type": "http.response.body", "body": body, "more_body": False}))


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
