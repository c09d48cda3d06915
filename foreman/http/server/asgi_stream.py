"""One HTTP request as a task of the app; it takes the place of Hypercorn's HTTPStream.

Hypercorn hands each part of a request through a channel to a second task. Here the body is filled directly, and the
end of the connection cancels the app's only task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, WorkerContext
from hypercorn.utils import build_and_validate_headers, suppress_body

from foreman.http.server.inflow import BODY, Inflow

WHOLE = "whole"  # key in the start of an answer: its body follows at once
MERGED = 65_536  # bytes of a body that are sent together with its head


@dataclass(frozen=True)
class Opening(Response):
    """The head of an answer with the first piece of its body."""

    data: bytes


class HttpStream:
    """One request and its answer."""

    idle = False

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        stream_id: int,
    ) -> None:
        """Take the arguments of Hypercorn's streams."""
        self.closed = False
        self._app = app
        self._config = config
        self._task_group = task_group
        self._scheme = "https" if ssl else "http"
        self._client = client
        self._server = server
        self._send = send
        self._id = stream_id
        self._running = trio.CancelScope()
        self._scope: dict[str, Any] = {}
        self._start: Any = None  # the start of the answer
        self._held = False  # its head waits for the body
        self._over = False  # the answer is complete

    async def handle(self, event: Event) -> None:
        """Handle an event of the request."""
        if self.closed:
            return
        if isinstance(event, Request):
            self._begin(event)
        elif isinstance(event, Body):
            await self._body.wait_room()
            if not self.closed:
                self._body.append(event.data)
        elif isinstance(event, EndBody):
            self._body.set_complete()
        elif isinstance(event, StreamClosed):
            self.closed = True
            if not self._over:  # else the app has sent all, and ends by itself
                self._running.cancel()
            self._body.leave()

    def _begin(self, event: Request) -> None:
        path, _, query = event.raw_path.partition(b"?")
        self._body = Inflow(event.state)
        self._scope = {
            "type": "http",
            "http_version": event.http_version,
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": event.method,
            "scheme": self._scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self._config.root_path,
            "headers": event.headers,
            "client": self._client,
            "server": self._server,
            "state": {**event.state, BODY: self._body},
            "extensions": {},
        }
        self._task_group.spawn(self._run)

    async def _run(self) -> None:
        try:
            with self._running:
                await self._app(self._scope, _receive, self.app_send, trio.to_thread.run_sync, trio.from_thread.run)  # type: ignore[arg-type]
        except BaseExceptionGroup as group:
            _, errors = group.split(trio.Cancelled)
            if errors is None:
                raise
            await self._config.log.exception("Error in ASGI Framework")
        except Exception:
            await self._config.log.exception("Error in ASGI Framework")
        finally:
            await self._finish()

    async def _finish(self) -> None:
        """End the stream after its app."""
        if self.closed:
            return
        if self._start is None or self._held:
            await self._send(Response(self._id, [(b"content-length", b"0"), (b"connection", b"close")], 500))
            await self._send(EndBody(self._id))
        await self._send(StreamClosed(self._id))

    async def app_send(self, message: Any) -> None:
        """Send a part of the answer. Raise RuntimeError when it is out of order."""
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            self._held = message.get(WHOLE, False)
            if not self._held:
                await self._send(Response(self._id, self._headers(), message["status"]))
        elif kind == "http.response.body" and self._start is not None and not self._over:
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} out of order")

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        status = self._start["status"]
        if suppress_body(self._scope["method"], status):
            data = b""
        if self._held:
            merged = data if len(data) <= MERGED else b""
            await self._send(Opening(self._id, self._headers(), status, merged))
            self._held = False
            data = b"" if merged else data
        if data:
            await self._send(Body(self._id, data))
        if not more:
            await self._send(EndBody(self._id))
            self._over = True
            await self._send(StreamClosed(self._id))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return build_and_validate_headers(self._start.get("headers", ()))


async def _receive() -> ASGIReceiveEvent:
    raise NotImplementedError("the body is in the state of the scope")
