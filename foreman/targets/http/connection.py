"""One HTTP/1.1 connection to an inference server, and the response read from it."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterable, Callable, Iterator
from functools import cache

import httptools
import trio

from foreman.domain.encodings import CODINGS, BadCoding, Unpacker, applied
from foreman.domain.errors import TargetGarbled, TargetLost, TargetUnavailable
from foreman.shortage import shortage_in
from foreman.targets.http.parser import Body, ResponseParser

CONNECT_TIMEOUT = 5.0  # seconds, name lookup and TLS included
MAX_HEAD = 65_536  # bytes of a response head
READ_SIZE = 65_536  # bytes
WINDOW = 2**27  # bytes that the zstd of a server may refer back to; the limit of its own tool


class Response:
    """The head of a response, and its body as it arrives."""

    def __init__(self, connection: Connection) -> None:
        parser = connection.parser
        self._connection = connection
        self.status = parser.status
        self.headers = parser.headers
        self.sized = "content-length" in parser.headers  # the length was announced, compressed or not
        self._codings = [] if parser.bodiless else applied(parser.headers.get("content-encoding", ""))
        self._unpacker: Unpacker | None = None
        self._unpacked: Iterator[bytes] = iter(())
        if self._codings:  # the body is read decompressed
            changed = ("content-encoding", "content-length")
            self.headers = {name: value for name, value in parser.headers.items() if name not in changed}

    @property
    def over(self) -> bool:
        """Return True if all of the body has been read."""
        return self._connection.parser.over

    @property
    def framed(self) -> bool:
        """Return True if the body announces its end, False if it ends with the connection, complete or not."""
        return not self._connection.parser.ends_with_connection

    async def receive(self) -> bytes:
        """Return the next piece of the body, decompressed, empty at its end. Raise TargetLost or TargetGarbled."""
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
        raise TargetGarbled(self._connection.name, f"an answer compressed as {named!r}, which was not asked for")

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raise TargetGarbled when it is larger than `limit` bytes, or as `receive` does."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.receive():
            size += len(piece)
            if size > limit:
                raise TargetGarbled(self._connection.name, f"an answer larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def read_some(self, limit: int) -> bytes:
        """Return at most the first `limit` bytes of the body, fewer if the connection breaks."""
        data = b""
        try:
            while len(data) < limit and (piece := await self.receive()):
                data += piece
        except (TargetLost, TargetGarbled):
            pass
        return data[:limit]


class ClosedEarly(Exception):
    """The peer closed the connection before any byte of an answer."""


class Connection:
    """An open connection that carries one exchange at a time."""

    def __init__(self, name: str, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self.name = name
        self._stream = stream
        self._tcp = tcp
        self.parser = ResponseParser()
        self._error: TargetGarbled | None = None  # raised after the pieces that were parsed before it
        self._heard: Callable[[], None] = lambda: None
        self._sent = False
        self.idle_since = 0.0  # the end of the last exchange, in Trio's time

    def close(self) -> None:
        """Close the socket at once, without waiting, so that it works in a cancelled scope."""
        self._tcp.socket.close()

    def can_serve_again(self) -> bool:
        """Return True if the exchange has ended well and the connection is ready for the next one."""
        self.idle_since = trio.current_time()
        return self._sent and self.parser.over and self.parser.kept and self._tcp.socket.fileno() >= 0

    def still_open(self) -> bool:
        """Return True if an idle connection may be used; a readable one was closed, or has unexpected bytes."""
        return self._tcp.socket.fileno() >= 0 and not self._tcp.socket.is_readable()

    async def send(
        self, head: bytes, body: Body | None, length: int | None, *, bodiless: bool, heard: Callable[[], None]
    ) -> bool:
        """Send a request; return False if the connection broke, where an early answer may still be readable.

        Raise TargetLost when the pieces of `body` do not add up to `length` bytes.
        """
        self.parser = ResponseParser(bodiless=bodiless)
        self._heard = heard
        self._sent = False
        try:
            if body is None or isinstance(body, bytes):
                await self._send_all(head + (body or b""))
            else:
                await self._send_pieces(head, body, length)
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
            size = f"more than {length}" if sent > length else f"{sent} of {length}"
            raise TargetLost(self.name, f"the upload does not match its length: {size} bytes came")
        if length is None or head:
            await self._stream.send_all(head + (b"0\r\n\r\n" if length is None else b""))

    async def receive_head(self) -> None:
        """Wait until `parser` has the status and the headers. Raise ClosedEarly, TargetLost or TargetGarbled."""
        parser, size = self.parser, 0
        while not parser.begun:
            if self._error:
                raise self._error
            if size >= MAX_HEAD:
                raise TargetGarbled(self.name, f"not HTTP/1.1 (a head of more than {MAX_HEAD} bytes)")
            data = await self._receive()
            if not data:
                if not size:
                    raise ClosedEarly
                raise TargetLost(self.name, "the connection closed inside the head of an answer")
            size += len(data)
            self._feed(data)

    async def body(self) -> bytes:
        """Return the next piece of the body, empty at its end. Raise TargetLost or TargetGarbled."""
        parser, size = self.parser, 0
        while not parser.pieces and not parser.over:
            if self._error:
                raise self._error
            if size >= MAX_HEAD:
                raise TargetGarbled(self.name, f"not HTTP/1.1 (more than {MAX_HEAD} bytes between two pieces)")
            data = await self._receive()
            if data:
                size += len(data)
                self._feed(data)
            elif parser.ends_with_connection:
                parser.over = True
            else:
                raise TargetLost(self.name, "the connection closed in the middle of an answer")
        pieces, parser.pieces = parser.pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _feed(self, data: bytes) -> None:
        self._heard()
        try:
            self.parser.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._error = TargetGarbled(self.name, f"not HTTP/1.1 ({error})")

    # Without TLS the socket is used directly: a Trio stream around it would double the cost of a short answer.

    async def _send_all(self, data: bytes) -> None:
        if self._stream is not self._tcp:
            await self._stream.send_all(data)
            return
        await trio.lowlevel.checkpoint_if_cancelled()  # a cancelled request is not sent
        try:
            sent = os.write(self._tcp.socket.fileno(), data)  # nearly always takes all
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError from error
        if sent < len(data):
            await self._stream.send_all(data[sent:])

    async def _receive(self) -> bytes:
        try:
            if self._stream is not self._tcp:
                return bytes(await self._stream.receive_some(READ_SIZE))
            while (number := self._tcp.socket.fileno()) >= 0:
                # A server seldom has sent the next chunk already, so that a first attempt to read would fail.
                await trio.lowlevel.wait_readable(number)
                try:
                    return os.read(self._tcp.socket.fileno(), READ_SIZE)  # the number may be another's by now
                except BlockingIOError:
                    continue
            return b""
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


async def connect(host: str, port: int, *, secure: bool, name: str) -> Connection:
    """Open a connection, with TLS if `secure`; `name` stands for the server in errors.

    Raise TargetUnavailable, or Shortage when Foreman itself lacks a resource.
    """
    with trio.move_on_after(CONNECT_TIMEOUT):
        try:
            tcp = await trio.open_tcp_stream(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            raise shortage_in(error) or TargetUnavailable(name, _reason(error)) from error
        if not secure:
            return Connection(name, tcp, tcp)
        try:
            tls = trio.SSLStream(tcp, _tls(), server_hostname=host, https_compatible=True)
            await tls.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            tcp.socket.close()
            why = str(error.__cause__ or error).replace(host, "it")
            raise TargetUnavailable(name, f"TLS: {why}") from error
        except BaseException:
            tcp.socket.close()
            raise
        return Connection(name, tls, tcp)
    raise TargetUnavailable(name, f"no connection within {CONNECT_TIMEOUT:g} s")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reason(error: Exception) -> str:
    # open_tcp_stream wraps one error per address; the first says enough.
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) and cause.errno:
        return os.strerror(cause.errno).lower()  # Trio's own message has the address
    return getattr(cause, "strerror", None) or str(cause)
