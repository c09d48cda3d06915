"""A small HTTP/1.1 client for inference servers: kept connections, streamed answers, foreign errors translated."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterator
from functools import cache
from types import TracebackType
from typing import TypeAlias
from urllib.parse import urlsplit

import httptools
import trio

from foreman.domain.encodings import CODINGS, BadCoding, Unpacker, applied
from foreman.domain.errors import TargetGarbled, TargetLost, TargetUnavailable
from foreman.shortage import shortage_in

CONNECT_TIMEOUT = 5.0  # seconds, name lookup and TLS included
IDLE_LIMIT = 4.0  # seconds; shorter than the 5 s after which common servers hang up on an idle connection
SETTLE = 0.02  # seconds; llama.cpp closes after every streamed answer without saying so, which must have time to show
MAX_HEAD = 65_536  # bytes of a response head
READ_SIZE = 65_536  # bytes
WINDOW = 2**27  # bytes that the zstd of a server may refer back to; what its own tool takes
MAX_IDLE = 64  # connections kept; more than that are closed when their answer ends


Body: TypeAlias = bytes | AsyncIterable[bytes]


class Client:
    """Connections to one server. Takes no proxy and no other setting from the environment."""

    def __init__(self, url: str, token: str = "", *, name: str = "") -> None:
        """`url` may carry a path prefix; `token` is sent as a bearer; `name` is how faults, which callers see, call
        the server."""
        parts = urlsplit(url)
        self.name = name or "the server"
        self._prefix = parts.path.rstrip("/")
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        headers = [f"Host: {parts.netloc.rpartition('@')[2]}", "User-Agent: foreman", "Accept: */*"]
        headers.append("Accept-Encoding: identity")
        if token.strip():
            headers.append(f"Authorization: Bearer {token.strip()}")
        self._headers = "\r\n".join(_plain(header) for header in headers)
        self._idle: deque[_Connection] = deque()  # longest idle first
        self._busy: set[_Connection] = set()

    def request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        length: int | None = None,
        content_type: str | None = None,
        heard: Callable[[], None] = lambda: None,
    ) -> Request:
        """A request, to be sent by `async with`, which gives the Response.

        `path` is percent-encoded; `body` is JSON, or the pieces of an upload of `length` bytes (None: not known), or
        what `content_type` says. `heard` is called whenever bytes of the answer come, those of its head and framing
        too.
        """
        lines = f"{method} {_plain(self._prefix + path, spaces=False)} HTTP/1.1\r\n{self._headers}\r\n"
        head = f"{lines}{_headers_for(body, length, content_type)}\r\n".encode("latin-1")
        return Request(self, method == "HEAD", head, body, length, heard)

    async def fetch(self, method: str, path: str, body: bytes | None = None, *, limit: int) -> tuple[Response, bytes]:
        """A whole exchange; raises TargetGarbled besides when the body is larger than `limit` bytes."""
        async with self.request(method, path, body) as response:
            return response, await response.read(limit)

    def close(self) -> None:
        """Close every connection, those with a running answer too."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    async def _exchange(self, request: Request) -> _Connection:
        body = request.body
        while True:
            # What comes in pieces cannot be sent twice, so it goes where no server has hung up meanwhile.
            kept = self._take_idle() if body is None or isinstance(body, bytes) else None
            connection = kept or await self._connect()
            self._busy.add(connection)
            try:
                whole = await connection.send(request)
                await connection.receive_head()
                return connection
            except _ClosedEarly:
                self._discard(connection)
                # A kept connection the server had closed meanwhile: the request never got there in whole. After a
                # complete send it may have, so only the caller can decide about a second try.
                if not (kept and not whole):
                    raise TargetLost(self.name, "the connection closed before an answer") from None
            except BaseException:
                self._discard(connection)
                raise

    def _release(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.can_serve_again() and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

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
                raise shortage_in(error) or TargetUnavailable(self.name, _reason(error)) from error
            if not self._secure:
                return _Connection(self.name, tcp, tcp)
            try:
                tls = trio.SSLStream(tcp, _tls(), server_hostname=self._host, https_compatible=True)
                await tls.do_handshake()
            except (trio.BrokenResourceError, ssl.SSLError) as error:
                tcp.socket.close()
                why = str(error.__cause__ or error).replace(self._host, "it")
                raise TargetUnavailable(self.name, f"TLS: {why}") from error
            except BaseException:
                tcp.socket.close()
                raise
            return _Connection(self.name, tls, tcp)
        raise TargetUnavailable(self.name, f"no connection within {CONNECT_TIMEOUT:g} s")


class Request:
    """One exchange, a context: entering it sends the request and waits for the head of the answer, whatever its status;
    leaving it before the body has ended closes the connection at once.

    Has no deadline but the one for connecting. Entering raises TargetUnavailable or Shortage (nothing was sent),
    TargetLost or TargetGarbled.
    """

    __slots__ = ("_client", "_connection", "bodiless", "body", "head", "heard", "length")

    def __init__(
        self,
        client: Client,
        bodiless: bool,
        head: bytes,
        body: Body | None,
        length: int | None,
        heard: Callable[[], None],
    ) -> None:
        self._client = client
        self._connection: _Connection | None = None
        self.bodiless = bodiless  # whether its answer ends with the head
        self.head = head
        self.body = body
        self.length = length
        self.heard = heard

    async def __aenter__(self) -> Response:
        self._connection = await self._client._exchange(self)
        return Response(self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the context, from wherever."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client._release(connection)


class Response:
    """The head of a response, and its body as it arrives."""

    def __init__(self, connection: _Connection) -> None:
        reading = connection.reading
        self._connection = connection
        self.status = reading.status
        self.headers = reading.headers
        self.sized = "content-length" in reading.headers  # the length was announced, in one form or another
        self._codings = [] if reading.bodiless else applied(reading.headers.get("content-encoding", ""))
        self._unpacker: Unpacker | None = None
        self._unpacked: Iterator[bytes] = iter(())
        if self._codings:  # what is read is no longer in it
            changed = ("content-encoding", "content-length")
            self.headers = {name: value for name, value in reading.headers.items() if name not in changed}

    @property
    def over(self) -> bool:
        """Whether all of the body has been read."""
        return self._connection.reading.over

    @property
    def framed(self) -> bool:
        """Return whether the body says itself where it ends; else it ends where the connection does, whole or not."""
        return not self._connection.reading.ends_with_connection

    async def receive(self) -> bytes:
        """Return the next piece of the body, decompressed, empty at its end. Raises TargetLost, TargetGarbled."""
        if not self._codings:
            return await self._connection.body()
        self._unpacker = self._unpacker or self._unpacking()
        try:
            while not (piece := next(self._unpacked, b"")):
                data = await self._connection.body()
                if not data:
                    return b""
                self._unpacked = filter(None, self._unpacker.feed(data))
            return piece
        except BadCoding as error:
            raise TargetGarbled(self._connection.name, f"not {self._codings[0]} ({error})") from error

    def _unpacking(self) -> Unpacker:
        if len(self._codings) == 1 and self._codings[0] in CODINGS:
            return Unpacker(self._codings[0], window=WINDOW)
        named = ", ".join(self._codings)[:40]
        raise TargetGarbled(self._connection.name, f"an answer compressed as {named!r}, though asked for none that is")

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


class _ClosedEarly(Exception):
    """The peer closed the connection before any byte of an answer."""


class _Connection:
    def __init__(self, name: str, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self.name = name
        self._stream = stream
        self._tcp = tcp
        self.reading = _Reading()
        self._error: TargetGarbled | None = None  # comes after what was understood
        self._heard: Callable[[], None] = lambda: None
        self._sent = False
        self._idle_since = 0.0

    def close(self) -> None:
        """Close the socket now; never waits, so that it works in a cancelled scope."""
        self._tcp.socket.close()

    def can_serve_again(self) -> bool:
        """Whether the exchange has ended well; if so the connection is ready for the next one."""
        self._idle_since = trio.current_time()
        return self._sent and self.reading.over and self.reading.kept and self._tcp.socket.fileno() >= 0

    def idle_for(self) -> float:
        return trio.current_time() - self._idle_since

    def still_open(self) -> bool:
        """Whether an idle connection may be used: a readable one was closed, or has bytes nobody asked for."""
        if self.idle_for() > IDLE_LIMIT or self._tcp.socket.fileno() < 0:
            return False
        return not self._tcp.socket.is_readable()

    async def send(self, request: Request) -> bool:
        """Send all of it; False if the connection broke, when an early answer may still be waiting to be read."""
        self.reading = _Reading(bodiless=request.bodiless)
        self._heard = request.heard
        self._sent = False
        try:
            if request.body is None or isinstance(request.body, bytes):
                await self._send_all(request.head + (request.body or b""))
            else:
                await self._send_pieces(request.head, request.body, request.length)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._sent = True
        return True

    async def _send_pieces(self, head: bytes, body: AsyncIterable[bytes], length: int | None) -> None:
        sent = 0
        async for piece in body:
            sent += len(piece)
            if length is not None and sent > length:
                break
            if piece:
                framed = piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
                await self._stream.send_all(head + framed)
                head = b""
        if length is not None and sent != length:
            words = f"more than {length}" if sent > length else f"{sent} of {length}"
            raise TargetLost(self.name, f"the upload did not keep to its length: {words} bytes came")
        if length is None or head:
            await self._stream.send_all(head + (b"0\r\n\r\n" if length is None else b""))

    async def receive_head(self) -> None:
        """Wait until `reading` has the status and the headers."""
        reading, size = self.reading, 0
        while not reading.begun:
            if self._error:
                raise self._error
            if size >= MAX_HEAD:
                raise TargetGarbled(self.name, f"not HTTP/1.1 (a head of more than {MAX_HEAD} bytes)")
            data = await self._receive()
            if not data:
                if not size:
                    raise _ClosedEarly
                raise TargetLost(self.name, "the connection closed inside the head of an answer")
            size += len(data)
            self._feed(data)

    async def body(self) -> bytes:
        """The next piece, empty at the end."""
        reading, size = self.reading, 0
        while not reading.pieces and not reading.over:
            if self._error:
                raise self._error
            if size >= MAX_HEAD:
                raise TargetGarbled(self.name, f"not HTTP/1.1 (more than {MAX_HEAD} bytes between two pieces)")
            data = await self._receive()
            if data:
                size += len(data)
                self._feed(data)
            elif reading.ends_with_connection:
                reading.over = True
            else:
                raise TargetLost(self.name, "the connection closed in the middle of an answer")
        pieces, reading.pieces = reading.pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _feed(self, data: bytes) -> None:
        self._heard()
        try:
            self.reading.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._error = TargetGarbled(self.name, f"not HTTP/1.1 ({error})")

    # Without TLS the socket is used itself: a Trio stream around it would double the cost of a short answer.

    async def _send_all(self, data: bytes) -> None:
        if self._stream is not self._tcp:
            await self._stream.send_all(data)
            return
        try:
            sent = await self._tcp.socket.send(data)
        except OSError as error:
            raise trio.BrokenResourceError from error
        if sent < len(data):
            await self._stream.send_all(data[sent:])

    async def _receive(self) -> bytes:
        try:
            if self._stream is self._tcp:
                return await self._tcp.socket.recv(READ_SIZE)
            return bytes(await self._stream.receive_some(READ_SIZE))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


class _Reading:
    """One answer as it is parsed; the `on_` methods are what the parser calls."""

    def __init__(self, *, bodiless: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case
        self.pieces: list[bytes] = []  # of the body, not yet taken
        self.begun = False  # the head is there
        self.over = False
        self.kept = False  # the connection may be used again
        self.ends_with_connection = False
        self.bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError; what follows the end of the answer may be the cause."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.kept = False
            raise

    def on_message_begin(self) -> None:
        if self.over:
            self.kept = False  # nobody asked for more

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.begun:  # trailers are nobody's
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.over:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
            return
        self.begun = True
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        self.ends_with_connection = not framed
        if self.bodiless:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        if not self.over:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        if self.begun and not self.over:
            self.over = True
            self.kept = self._parser.should_keep_alive()


def _headers_for(body: Body | None, length: int | None, content_type: str | None) -> str:
    if body is None:
        return ""
    whole = isinstance(body, bytes)
    content_type = _plain(content_type or ("application/json" if whole else "application/octet-stream"))
    length = len(body) if isinstance(body, bytes) else length
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"Content-Type: {content_type}\r\n{framing}\r\n"


def _plain(text: str, *, spaces: bool = True) -> str:
    """`text`, which goes into the head of a request. Raises ValueError for what could end a line there."""
    if not (_LINE if spaces else _WORD).fullmatch(text):
        raise ValueError(f"not fit for the head of a request: {text!r}")
    return text


_LINE = re.compile(r"[\x20-\x7e\xa0-\xff]*")
_WORD = re.compile(r"[\x21-\x7e]*")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reason(error: Exception) -> str:
    # open_tcp_stream wraps one error per address; the first says enough.
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) and cause.errno:
        return os.strerror(cause.errno).lower()  # Trio's own words hold the address
    return getattr(cause, "strerror", None) or str(cause)
