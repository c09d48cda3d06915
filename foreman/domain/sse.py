"""Server-sent events, read and written; the HTML standard, section 9.2.6."""

from __future__ import annotations

import codecs
import sys

import msgspec


class TooLong(ValueError):
    """A line or an event exceeds its limit."""


class Lines:
    """Splitter of bytes into lines ended by LF, CRLF or CR, without a byte order mark.

    The cost is linear in the bytes, however they are cut.
    """

    def __init__(self, limit: int = sys.maxsize) -> None:
        """Raise TooLong for a line of more than `limit` bytes, as long as it is incomplete."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._begun = False  # the first line is complete

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they complete."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)  # of bytes: splits at LF, CRLF and CR only
        rest = b"" if lines[-1][-1:] in (b"\n", b"\r") else lines.pop()
        complete = [line.rstrip(b"\r\n") for line in lines]
        if complete and self._parts:
            complete[0] = b"".join(self._parts) + complete[0]
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise TooLong(f"a line longer than {self._limit} bytes")
        return self._unmarked(complete)

    def end(self) -> list[bytes]:
        """Return the line that lacks its end."""
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return self._unmarked([rest] if rest else [])

    def _unmarked(self, lines: list[bytes]) -> list[bytes]:
        if lines and not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        return lines


class Events:
    """Parser of lines into events."""

    def __init__(self, limit: int = sys.maxsize) -> None:
        """Raise TooLong for an event of more than `limit` bytes."""
        self._limit = limit
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""

    def take(self, line: bytes) -> tuple[bytes, bytes] | None:
        """Take the next line and return the name and the data of the event that it completes."""
        if not line:
            name, self._name, lines = self._name, b"", self._data
            if not lines:
                return None
            self._data, self._size = [], 0
            return name, lines[0] if len(lines) == 1 else b"\n".join(lines)
        if line.startswith(b"data: "):
            value = line[6:]
        else:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                self._name = value.strip()
                return None
            if field == b"error":  # older llama.cpp servers report an error in its own field
                self._name = field
            elif field != b"data":
                return None
        self._size += len(value) + 1
        if self._size > self._limit:
            raise TooLong(f"an event larger than {self._limit} bytes")
        self._data.append(value)
        return None


def event(data: bytes, name: bytes | None = None) -> bytes:
    """Return a JSON value framed as an event."""
    return begin(name) + on_one_line(data) + END


def begin(name: bytes | None = None) -> bytes:
    """Return the frame before the data of an event; END comes after it."""
    return b"event: " + name + b"\ndata: " if name else b"data: "


END = b"\n\n"


def comment(text: str) -> bytes:
    """Return a comment, which readers skip."""
    return f": {text}\n\n".encode()


def on_one_line(data: bytes) -> bytes:
    """Return a JSON value without any character that a reader could take for a line end.

    Python's `str.splitlines`, which the official SDKs and httpx use, also ends lines at U+0085, U+2028 and U+2029.
    """
    if b"\n" in data or b"\r" in data:  # a server's whole answer, over several lines
        data = msgspec.json.format(data, indent=-1)
    if data.isascii():
        return data
    for character, escape in _LINE_ENDS.items():
        if character in data:
            data = data.replace(character, escape)
    return data


_LINE_ENDS = {character.encode(): f"\\u{ord(character):04x}".encode() for character in "\x85\u2028\u2029"}
