"""A Foreman over the scripted upstream, and readers of its feed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage

from tests.support.foreman import Daemon, Upstream


@pytest.fixture(scope="session")
def daemon(engine: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("foreman") / "data", ollama_url=upstream.url) as daemon:
        yield daemon
        assert not daemon.errors


class Closed(Exception):
    """The websocket was closed, or never opened."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Feed:
    """A websocket on /events. `stream` may be one with a small buffer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.hello: dict[str, Any] = {}
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: deque[Any] = deque()
        self._text = ""

    async def join(self, host: str, target: str, headers: dict[str, str]) -> None:
        """Raises Closed with the status of a refusal."""
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.stream.send_all(self._protocol.send(Request(host=host, target=target, extra_headers=extra)))
        event = await self._next_event()
        if isinstance(event, RejectConnection):
            raise Closed(event.status_code, "")
        assert isinstance(event, AcceptConnection)

    async def next(self) -> dict[str, Any]:
        """The next message. Raises Closed."""
        while True:
            event = await self._next_event()
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    return dict(json.loads(text))
            elif isinstance(event, CloseConnection):
                with suppress(trio.BrokenResourceError):  # the other side need not wait for our goodbye
                    await self.stream.send_all(self._protocol.send(event.response()))
                raise Closed(event.code, event.reason or "")
            elif isinstance(event, Ping) and self._protocol.state is ConnectionState.OPEN:
                await self.stream.send_all(self._protocol.send(event.response()))

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def _next_event(self) -> Any:
        while not self._events:
            self._protocol.receive_data(await self.stream.receive_some(65536) or None)
            self._events.extend(self._protocol.events())
        return self._events.popleft()


@asynccontextmanager
async def joined(
    daemon: Daemon, query: str = "", *, headers: dict[str, str] | None = None, buffer: int = 0
) -> AsyncIterator[Feed]:
    """A websocket of which nothing was read; `buffer` is what the system may receive ahead, in bytes."""
    parts = urlsplit(daemon.url)
    socket = trio.socket.socket()
    if buffer:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, buffer)
    with socket:
        await socket.connect((parts.hostname, parts.port))
        feed = Feed(trio.SocketStream(socket))
        await feed.join(parts.netloc, f"/events{query}", headers or {})
        yield feed


@asynccontextmanager
async def following(daemon: Daemon, query: str = "") -> AsyncIterator[Feed]:
    """One whose hello was read."""
    async with joined(daemon, query) as feed:
        feed.hello = await feed.next()
        assert feed.hello["type"] == "hello"
        yield feed
