"""HTTP/1.1 messages: the head of a request, and the incremental parser of a response; no I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from typing import TypeAlias

import httptools

Body: TypeAlias = bytes | AsyncIterable[bytes]
Header: TypeAlias = tuple[str, str]


class ResponseParser:
    """One response as it is parsed; httptools calls the `on_` methods."""

    def __init__(self, *, bodiless: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case
        self.pieces: list[bytes] = []  # of the body, still to be read
        self.begun = False  # the head is complete
        self.over = False  # the body is complete
        self.kept = False  # the connection may be used again
        self.ends_with_connection = False
        self.bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes.

        Raise httptools.HttpParserError, maybe for bytes after the end of the response.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.kept = False
            raise

    def on_message_begin(self) -> None:
        """Give up reuse of the connection if another response follows."""
        if self.over:
            self.kept = False  # a second response was not asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        if not self.begun:  # trailers are ignored
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Complete the head and find out how the body ends; a 1xx is skipped."""
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
        """Add a piece of the body."""
        if not self.over:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        """Complete the response and find out whether the connection may be used again."""
        if self.begun and not self.over:
            self.over = True
            self.kept = self._parser.should_keep_alive()


def headers_for(body: Body | None, length: int | None, content_type: str | None) -> str:
    """Return the header lines for a body: its type and its framing. Raise ValueError like `header_text`."""
    if body is None:
        return ""
    whole = isinstance(body, bytes)
    content_type = header_text(content_type or ("application/json" if whole else "application/octet-stream"))
    length = len(body) if isinstance(body, bytes) else length
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"Content-Type: {content_type}\r\n{framing}\r\n"


def header_text(text: str, *, spaces: bool = True) -> str:
    """Return `text` for the head of a request. Raise ValueError for a character that could end a line there."""
    if not (_LINE if spaces else _WORD).fullmatch(text):
        raise ValueError(f"not fit for the head of a request: {text!r}")
    return text


_LINE = re.compile(r"[\x20-\x7e\xa0-\xff]*")
_WORD = re.compile(r"[\x21-\x7e]*")
