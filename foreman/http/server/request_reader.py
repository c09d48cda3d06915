"""HTTP/1.1 requests read from bytes: heads by httptools, bodies by their length or in chunks; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

import httptools

HEAD_LIMIT = 16 * 1024  # bytes of a head, of the trailers, and of a chunk's first line
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*|[ \t]*)")
TRAILER = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
FRAMING = (b"content-length:", b"transfer-encoding:")  # not to be sent as trailers (RFC 9110, 6.5.1)
END_OF_HEAD = re.compile(rb"\n\r?\n")
REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(1\.[01])\r\n")
METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"}  # RFC 9110, 5789
CHUNKS_AT_ONCE = 512  # of a body, before other tasks run: the work of some milliseconds
MAX_LENGTH_DIGITS = 19  # of a Content-Length; less than 2**63


class Refused(Exception):
    """A request that breaks the protocol; `status` answers it, and its connection ends."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Head:
    """The head of a request."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]  # names in lower case
    length: int | None  # bytes of the body; None when it comes in chunks
    kept: bool  # the connection may carry another request
    continues: bool  # the client waits for 100 Continue
    websocket: bool


class Signal(Enum):
    """What is there instead of a head or a piece of a body."""

    MORE = auto()  # nothing until more data is fed
    END = auto()  # the request has been read to its end
    PAUSED = auto()  # there is data of a next request, before `restart`
    CLOSED = auto()  # the client has closed its side between two requests


Found: TypeAlias = Head | bytes | Signal


class RequestReader:
    """The requests of one connection, one at a time.

    httptools cannot stop at the end of a message, so it is given heads alone. Framing is decided here.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0  # bytes of the buffer that have been read
        self._searched = 0  # bytes of the buffer, read ones included, without the end of a head
        self._left = 0  # bytes of the body, or of the chunk
        self._closed = False  # by the client
        self._step: Callable[[], Found] = self._head
        self._part: Callable[[], bytes | None] = self._chunk_line

    @property
    def over(self) -> bool:
        """True when the request has been read to its end, and another one may come."""
        return self._step == self._next_request and not (self._closed and not self._buffer)

    def feed(self, data: bytes) -> None:
        """Add received bytes; none mean that the client has closed its side."""
        self._closed = self._closed or not data
        if self._buffer:
            data = self._buffer[self._at :] + data
            self._searched = max(0, self._searched - self._at)
        self._buffer = data
        self._at = 0

    def next(self) -> Found:
        """Return the next head, piece of a body, or signal. Raise Refused."""
        try:
            found = self._step()
            if found is Signal.MORE:
                if len(self._buffer) - self._at > HEAD_LIMIT:
                    raise Refused("too long", 431)
                if self._closed:
                    if self._buffer or self._step not in (self._head, self._next_request, self._raw):
                        raise Refused("incomplete")
                    return Signal.CLOSED
        except Refused:
            self._step = self._broken
            raise
        return found

    def restart(self) -> None:
        """Go on to the next request."""
        self._step = self._head

    def switch(self) -> None:
        """Pass on all data as it is from now on."""
        self._step = self._raw

    def _head(self) -> Found:
        if not self._buffer:
            return Signal.MORE
        if self._buffer[self._at] <= 0x20:  # no method begins with it; the TLS handshake does
            raise Refused("no request line")
        found = END_OF_HEAD.search(self._buffer, max(self._at, self._searched))
        if found is None:
            self._searched = len(self._buffer) - 2
            return Signal.MORE
        self._searched = 0
        size = found.end() - self._at
        if size > HEAD_LIMIT:
            raise Refused("too long", 431)
        head = read_head(self._take(size))
        if head.length is None:
            self._step, self._part = self._chunks, self._chunk_line
        else:
            self._left = head.length
            self._step = self._body if head.length else self._no_body
        return head

    def _no_body(self) -> Found:
        self._step = self._next_request
        return Signal.END

    def _next_request(self) -> Found:
        return Signal.PAUSED if self._buffer else Signal.MORE

    def _body(self) -> Found:
        if not self._left:
            return self._no_body()
        if not self._buffer:
            return Signal.MORE
        data = self._take(self._left)
        self._left -= len(data)
        return data

    def _chunks(self) -> Found:
        """Return the data of the chunks that have come."""
        pieces: list[bytes] = []
        try:
            while len(pieces) < CHUNKS_AT_ONCE and (data := self._part()) is not None:
                if data:
                    pieces.append(data)
        except Refused:
            if not pieces:  # else the next call meets it again
                raise
        if pieces:
            return b"".join(pieces)
        return self._step() if self._step == self._trailers else Signal.MORE

    def _chunk_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            return None
        size = CHUNK_LINE.fullmatch(self._buffer, self._at, end)
        if size is None:
            raise Refused("malformed chunk")
        self._take(end + 2 - self._at)
        self._left = int(size[1], 16)
        if not self._left:
            self._step = self._trailers
            return None
        self._part = self._chunk
        return b""

    def _chunk(self) -> bytes | None:
        data = self._take(self._left)
        self._left -= len(data)
        if not self._left:
            self._part = self._chunk_end
        return data or None

    def _chunk_end(self) -> bytes | None:
        end = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(end):
            raise Refused("malformed chunk")
        if len(end) < 2:
            return None
        self._take(2)
        self._part = self._chunk_line
        return b""

    def _trailers(self) -> Found:
        """Drop the trailers, which nothing here reads."""
        if not self._buffer.startswith(b"\r\n", self._at):
            end = self._buffer.find(b"\r\n\r\n", self._at) + 2
            if end < 2:
                return Signal.MORE
            for line in self._take(end - self._at)[:-2].split(b"\r\n"):
                if not TRAILER.fullmatch(line) or line.lower().startswith(FRAMING):
                    raise Refused("malformed trailer")
        self._take(2)
        return self._no_body()

    def _raw(self) -> Found:
        return self._take(len(self._buffer)) if self._buffer else Signal.MORE

    def _broken(self) -> Found:
        raise Refused("after a malformed request")

    def _take(self, size: int) -> bytes:
        """Return up to `size` bytes; the buffer is empty, not read, when none are left."""
        taken = self._buffer[self._at : self._at + size]
        self._at += len(taken)
        if self._at == len(self._buffer):
            self._buffer, self._at = b"", 0
        return taken


class _Lines:
    """The request target and the headers; httptools calls the `on_` methods."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.complete = False
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_head(data: bytes) -> Head:
    """Read a head that is complete. Raise Refused."""
    line = REQUEST_LINE.match(data)
    if line is None:
        raise Refused("malformed request line")
    method, target, version = line.groups()
    if method not in METHODS:  # httptools knows more, each with rules of its own, and no others
        data = b"POST" + data[len(method) :]
    lines = _Lines()
    parser = httptools.HttpRequestParser(lines)
    # Both are decided below, with their own answers.
    parser.set_dangerous_leniencies(lenient_chunked_length=True, lenient_transfer_encoding=True)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the end of the head of an upgrade
    except httptools.HttpParserError as error:
        raise Refused(str(error)) from None
    if not lines.complete or lines.target != target:
        raise Refused("malformed request line")
    kept = version == b"1.1"
    return _judged(Head(method.decode().upper(), target, version.decode(), lines.headers, 0, kept, False, False))


def _judged(head: Head) -> Head:
    """Fill in what the headers say. Raise Refused for an ambiguous length (RFC 9112, 6.3) or host (3.2)."""
    hosts = 0
    length = coding = None
    upgrade = connection = b""
    for name, value in head.headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS or length is not None:
                raise Refused("malformed Content-Length")
            length = int(value)
        elif name == b"transfer-encoding":
            if coding is not None or value.lower() != b"chunked":
                raise Refused("unknown Transfer-Encoding", 501)
            coding = value
            head.headers[head.headers.index((name, value))] = (name, b"chunked")
        elif name == b"connection":
            connection = value.lower()
            head.kept = head.kept and b"close" not in _tokens(connection)
        elif name == b"upgrade":
            upgrade = value.lower()
        elif name == b"expect":
            head.continues = head.version == "1.1" and b"100-continue" in _tokens(value.lower())
    if hosts > 1 or not (hosts or head.version == "1.0"):
        raise Refused("not one Host")
    if coding is None:
        head.length = length or 0
    else:
        head.length = None
        head.kept = head.kept and length is None  # both permit request smuggling (RFC 9112, 6.1)
    head.websocket = upgrade == b"websocket" and head.method == "GET" and b"upgrade" in _tokens(connection)
    return head


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]
