"""HTTP/1.1 answers as bytes; no I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from re import compile as pattern
from wsgiref.handlers import format_date_time

NAME = pattern(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}  # Ollama's command line shows them
BODILESS = {204, 304}

Headers = Iterable[tuple[bytes, bytes]]


class Answer:
    """The answer to one request."""

    def __init__(self, method: str, version: str, *, kept: bool) -> None:
        """Answer a request; `kept` says that the connection may carry another one."""
        self.kept = kept
        self.begun = False
        self.over = False
        self._bodiless = method == "HEAD"
        self._chunks = version != "1.0"  # may be used
        self._left: int | None = 0  # bytes of the body; None when its head does not tell

    def head(self, status: int, headers: Headers) -> bytes:
        """Return the head. Raise ValueError for a header that could break it."""
        lines = [status_line(status)]
        length = coding = None
        closes = False
        for name, value in headers:
            lower = lowered(name)
            if lower == b"connection":
                closes = closes or b"close" in [token.strip() for token in value.lower().split(b",")]
            elif lower == b"content-length":
                length = value if length is None else b"twice"
            elif lower == b"transfer-encoding":
                coding = value
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(date_line())
        self._frame(status, length, coding, lines)
        if closes:
            self.kept = False
        elif not self.kept:
            lines.append(b"connection: close\r\n")
        self.begun = True
        return joined(lines)

    def _frame(self, status: int, length: bytes | None, coding: bytes | None, lines: list[bytes]) -> None:
        if length is not None and (coding is not None or not length.isdigit()):
            raise ValueError(f"two lengths, or a malformed one: {length!r}")
        if coding is not None and coding.lower() != b"chunked":
            raise ValueError(f"unknown Transfer-Encoding: {coding!r}")
        if length is not None:
            self._left = int(length)
            self._chunks = False
        elif status in BODILESS:
            self._chunks = False
        else:
            self._left = None
            if self._chunks:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.kept = False
        if self._bodiless or status in BODILESS:
            self._left = 0
            self._chunks = False

    def body(self, data: bytes) -> bytes:
        """Return a piece of the body. Raise ValueError when there is more than its head has told."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.kept = False
                raise ValueError("the body is longer than its Content-Length")
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunks and data else data

    def end(self) -> bytes:
        """Return the end of the body. Raise ValueError when there was less than its head has told."""
        if self._left:
            self.kept = False
            raise ValueError("the body is shorter than its Content-Length")
        self.over = True
        return b"0\r\n\r\n" if self._chunks else b""


def informational(status: int, headers: Headers = ()) -> bytes:
    """Return a head that is followed by another one, or by another protocol."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in headers if lowered(name)]
    return joined([status_line(status), *lines, date_line()])


def refusal(status: int) -> bytes:
    """Return the whole answer to a request that cannot be read."""
    return joined([status_line(status), b"content-length: 0\r\n", b"connection: close\r\n", date_line()])


def joined(lines: list[bytes]) -> bytes:
    """Return the lines as a head. Raise ValueError when one holds a line end within, or NUL (RFC 9110, 5.5)."""
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise ValueError("a header has a line end or NUL")
    return head + b"\r\n"


@lru_cache(512)
def lowered(name: bytes) -> bytes:
    """Return the name of a header in lower case. Raise ValueError for one that could not be sent."""
    if not NAME.fullmatch(name):
        raise ValueError(f"malformed header name: {name!r}")
    return name.lower()


@lru_cache(1024)
def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))


def date_line() -> bytes:
    """Return the Date header of now."""
    return _date(int(time.time()))


@lru_cache(1)
def _date(second: int) -> bytes:
    return b"date: %b\r\n" % format_date_time(second).encode()
