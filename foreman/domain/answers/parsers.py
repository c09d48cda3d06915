"""Incremental parsers for streams of JSON values: NDJSON, server-sent events, whole bodies; no I/O."""

from __future__ import annotations

import codecs
from typing import Protocol

import msgspec

from foreman.domain.errors import TargetGarbled
from foreman.domain.json_weight import has_more_values
from foreman.domain.sse import Events, Lines, TooLong

MAX_VALUE = 64 * 2**20  # bytes of one JSON value, which may be a whole answer with images or embeddings
DONE = b"[DONE]"  # the last event of OpenAI's streams


class Parser(Protocol):
    """An incremental parser: bytes in, complete JSON values (or DONE) out."""

    @property
    def whole(self) -> bool:
        """Return True if the body is one value."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the values that they complete.

        Raise TargetGarbled when a value exceeds MAX_VALUE.
        """

    def end(self) -> list[bytes]:
        """Return the values that lack their line end."""


class Ndjson:
    """Parser for one JSON value a line."""

    whole = False

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._lines = Lines(limit)

    def feed(self, data: bytes) -> list[bytes]:
        """See `Parser.feed`."""
        try:
            return [line for line in map(bytes.strip, self._lines.feed(data)) if line]
        except TooLong as error:
            raise TargetGarbled(self._target, str(error)) from None

    def end(self) -> list[bytes]:
        """See `Parser.end`."""
        return [line for line in map(bytes.strip, self._lines.end()) if line]


class Sse:
    """Parser for the data of server-sent events."""

    whole = False

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._lines = Lines(limit)
        self._events = Events(limit)

    def feed(self, data: bytes) -> list[bytes]:
        """See `Parser.feed`."""
        try:
            return self._values(self._lines.feed(data))
        except TooLong as error:
            raise TargetGarbled(self._target, str(error)) from None

    def end(self) -> list[bytes]:
        """See `Parser.end`."""
        # The standard drops an event without the empty line at its end; some servers hang up right after the data.
        return self._values([*self._lines.end(), b""])

    def _values(self, lines: list[bytes]) -> list[bytes]:
        take = self._events.take
        events = [event for line in lines if (event := take(line)) is not None]
        return [_error(value) if name == b"error" else value for name, data in events if (value := data.strip())]


def _error(value: bytes) -> bytes:
    """Return an object with `value` at the key `error`, as text if it is not JSON."""
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
    except msgspec.DecodeError:
        value = msgspec.json.encode(value.decode("utf-8", "replace"))
    return b'{"error":' + value + b"}"


class Whole:
    """Parser for a body that is one JSON value."""

    whole = True

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """See `Parser.feed`."""
        self._size += len(data)
        if self._size > self._limit:
            raise TargetGarbled(self._target, f"an answer larger than {self._limit} bytes")
        self._pieces.append(data)
        return []

    def end(self) -> list[bytes]:
        """See `Parser.end`."""
        pieces, self._pieces = self._pieces, []
        while pieces:  # strip the end before joining, which saves a copy of the whole
            pieces[-1] = pieces[-1].rstrip()
            if pieces[-1]:
                break
            pieces.pop()
        value = b"".join(pieces).removeprefix(codecs.BOM_UTF8).lstrip()
        return [value] if value else []


class WholeOrLines(Whole):
    """Parser for a body that should be one JSON value but may be one a line."""

    def end(self) -> list[bytes]:
        """See `Parser.end`."""
        found = super().end()
        if found and has_more_values(found[0]):
            return found  # the decoder refuses it
        try:
            for value in found:
                msgspec.json.decode(value, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.whole = False
            return Ndjson(self._target, self._limit).feed(found[0] + b"\n")
        return found


class SseOrWhole:
    """Parser for a stream of events or one JSON value, chosen by the first character of the body."""

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._limit = limit
        self._parser: Sse | Whole | None = None
        self._before = b""

    @property
    def whole(self) -> bool:
        """Return True if the body is one value."""
        return self._parser is not None and self._parser.whole

    def feed(self, data: bytes) -> list[bytes]:
        """See `Parser.feed`. Raise TargetGarbled for a page of HTML."""
        if self._parser is None:
            data = (self._before + data).removeprefix(codecs.BOM_UTF8).lstrip()
            if codecs.BOM_UTF8.startswith(data):  # blank lines, or a part of the byte order mark
                self._before = data
                return []
            if data.startswith(b"<"):
                raise TargetGarbled(self._target, "a page of HTML instead of an answer")
            self._parser = (Whole if data[:1] in b"{[" else Sse)(self._target, self._limit)
        return self._parser.feed(data)

    def end(self) -> list[bytes]:
        """See `Parser.end`."""
        return self._parser.end() if self._parser else []
