"""A small HTTP/1.1 client for inference servers: kept connections, streamed answers, foreign errors translated."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TypeAlias
from urllib.parse import urlsplit

import h11
import trio

from foreman.errors import TargetGarbled, TargetLost, TargetUnavailable

CONNECT_TIMEOUT = 5.0  # seconds, name lookup and TLS included
IDLE_LIMIT = 4.0  # seconds; shorter than the 5 s after which common servers hang up on an idle connection
SETTLE = 0.02  # seconds; llama.cpp closes after every streamed answer without saying so, which must have time to show
MAX_HEAD = 65_536  # bytes of a response head
READ_SIZE = 65_536  # bytes
MAX_IDLE = 64  # connections kept; more than that are closed when their answer ends


Body: TypeAlias = bytes | AsyncIterable[bytes]


class Client:
    """Connections to one server. Takes no proxy and no other setting from the environment."""

    def __init__(self, url: str, token: str = "", *, name: str = "") -> None:
        """`url` may carry a path prefix; `token` is sent as a bearer; `name` is how faults call the server."""
        parts = urlsplit(url)
        self.name = name or url
        self._prefix = parts.path.rstrip("/")
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._headers = [("Host", parts.netloc.rpartition("@")[2]), ("User-Agent", "foreman"), ("Accept", "*/*")]
        if token.strip():
            self._headers.append(("Authorization", f"Bearer {token.strip()}"))
        self._idle: deque[_Connection] = deque()  # longest idle first
        self._busy: set[_Connection] = set()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: Body | None = None, *, length: int | None = None
    ) -> AsyncIterator[Response]:
        """Send a request, `body` being JSON, or the pieces of an upload of `length` bytes (None: not known); yields
        when the head of the response is there, whatever its status.

        Leaving the context before the body has ended closes the connection at once. Has no deadline but the one for
        connecting. Raises TargetUnavailable (nothing was sent), TargetLost or TargetGarbled.
        """
        connection, response = await self._exchange(method, path, body, length)
        try:
            yield response
        finally:
            self._busy.discard(connection)
            if connection.can_serve_again() and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    async def fetch(self, method: str, path: str, body: bytes | None = None, *, limit: int) -> tuple[Response, bytes]:
        """A whole exchange; raises TargetGarbled besides when the body is larger than `limit` bytes."""
        async with self.request(method, path, body) as response:
            return response, await response.read(limit)

    def close(self) -> None:
        """Close every connection, those with a running answer too."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    async def _exchange(
        self, method: str, path: str, body: Body | None, length: int | None
    ) -> tuple[_Connection, Response]:
        headers = self._headers + _headers_for(body, length)
        request = h11.Request(method=method, target=self._prefix + path, headers=headers)
        while True:
            # What comes in pieces cannot be sent twice, so it goes where no server has hung up meanwhile.
            kept = self._take_idle() if body is None or isinstance(body, bytes) else None
            connection = kept or await self._connect()
            self._busy.add(connection)
            try:
                whole = await connection.send(request, body)
                return connection, Response(connection, await connection.head())
            except _ClosedEarly:
                self._discard(connection)
                # A kept connection the server had closed meanwhile: the request never got there in whole. After a
                # complete send it may have, so only the caller can decide about a second try.
                if not (kept and not whole):
                    raise TargetLost(self.name, "the connection closed before an answer") from None
            except BaseException:
                self._discard(connection)
                raise

    def _discard(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        connection.close()

    def _take_idle(self) -> _Connection | None:
        while self._idle and self._idle[0].idle_for() >= SETTLE:
            connection = self._idle.popleft()
            if connection.still_open():
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        with trio.move_on_after(CONNECT_TIMEOUT):
            try:
                tcp = await trio.open_tcp_stream(self._host, self._port)
            except (OSError, UnicodeError) as error:  # UnicodeError: a host name no lookup can take
                raise TargetUnavailable(self.name, _reason(error)) from error
            if not self._secure:
                return _Connection(self.name, tcp, tcp)
            try:
                tls = trio.SSLStream(tcp, _tls(), server_hostname=self._host, https_compatible=True)
                await tls.do_handshake()
            except (trio.BrokenResourceError, ssl.SSLError) as error:
                tcp.socket.close()
                raise TargetUnavailable(self.name, f"TLS: {error.__cause__ or error}") from error
            except BaseException:
                tcp.socket.close()
                raise
            return _Connection(self.name, tls, tcp)
        raise TargetUnavailable(self.name, f"no connection within {CONNECT_TIMEOUT:g} s")


class Response:
    """The head of a response, and its body as it arrives."""

    def __init__(self, connection: _Connection, head: h11.Response) -> None:
        self.status: int = head.status_code
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        self._connection = connection

    async def receive(self) -> bytes:
        """The next piece of the body, empty at its end. Raises TargetLost, TargetGarbled."""
        return await self._connection.body()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises TargetGarbled when it is larger than `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.receive():
            size += len(piece)
            if size > limit:
                raise TargetGarbled(self._connection.name, f"an answer larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def read_some(self, limit: int) -> bytes:
        """At most the first `limit` bytes of the body; a connection that breaks ends it."""
        data = b""
        try:
            while len(data) < limit and (piece := await self.receive()):
                data += piece
        except (TargetLost, TargetGarbled):
            pass
        return data[:limit]


_OVER = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)


class _ClosedEarly(Exception):
    """The peer closed the connection before any byte of an answer."""


class _Connection:
    def __init__(self, name: str, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self.name = name
        self._stream = stream
        self._tcp = tcp
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._idle_since = 0.0

    def close(self) -> None:
        """Close the socket now; never waits, so that it works in a cancelled scope."""
        self._tcp.socket.close()

    def can_serve_again(self) -> bool:
        """Whether the exchange has ended well; if so the connection is ready for the next one."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        if self._h11.trailing_data[0] or self._tcp.socket.fileno() < 0:
            return False
        self._h11.start_next_cycle()
        self._idle_since = trio.current_time()
        return True

    def idle_for(self) -> float:
        return trio.current_time() - self._idle_since

    def still_open(self) -> bool:
        """Whether an idle connection may be used: a readable one was closed, or has bytes nobody asked for."""
        if self.idle_for() > IDLE_LIMIT or self._tcp.socket.fileno() < 0:
            return False
        return not self._tcp.socket.is_readable()

    async def send(self, request: h11.Request, body: Body | None) -> bool:
        """Send all of it; False if the connection broke, when an early answer may still be waiting to be read."""
        data = self._h11.send(request) or b""
        try:
            if isinstance(body, bytes):
                data += self._h11.send(h11.Data(data=body)) or b""
            elif body is not None:
                async for piece in body:
                    await self._stream.send_all(data + (self._h11.send(h11.Data(data=piece)) or b""))
                    data = b""
            data += self._h11.send(h11.EndOfMessage()) or b""
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        except h11.LocalProtocolError as error:  # more or fewer bytes than were announced
            raise TargetLost(self.name, f"the upload did not keep to its length ({error})") from error
        return True

    async def head(self) -> h11.Response:
        seen = False
        while True:
            event = self._next_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                continue
            data = await self._receive()
            if not data:
                if not seen:
                    raise _ClosedEarly
                raise TargetLost(self.name, "the connection closed inside the head of an answer")
            seen = True
            self._h11.receive_data(data)

    async def body(self) -> bytes:
        while self._h11.their_state not in _OVER:  # past its end h11 would wait for the connection's
            event = self._next_event()
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            elif event is h11.NEED_DATA:
                data = await self._receive()
                self._h11.receive_data(data)
                if not data:
                    return self._at_end_of_file()
            else:  # EndOfMessage
                break
        return b""

    def _at_end_of_file(self) -> bytes:
        # Only an answer without a length (HTTP/1.0 style) may end this way.
        try:
            self._h11.next_event()
        except h11.RemoteProtocolError:
            raise TargetLost(self.name, "the connection closed in the middle of an answer") from None
        return b""

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise TargetGarbled(self.name, f"not HTTP/1.1 ({error})") from error

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(READ_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


def _headers_for(body: Body | None, length: int | None) -> list[tuple[str, str]]:
    if body is None:
        return []
    if isinstance(body, bytes):
        return [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    return [("Content-Type", "application/octet-stream"), framing]


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reason(error: Exception) -> str:
    # open_tcp_stream wraps one error per address; the first says enough.
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return getattr(cause, "strerror", None) or str(cause)
