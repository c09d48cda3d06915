"""A job's output as it is produced: NDJSON or server-sent events, taken apart piece by piece; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.client.answer import text_of, thinking_of
from foreman.client.reading import decode


class Chunk(msgspec.Struct, frozen=True):
    """A piece of the answer, in the shape in which the job's endpoint streams."""

    value: dict[str, Any]

    @property
    def text(self) -> str:
        return text_of(self.value)

    @property
    def thinking(self) -> str:
        return thinking_of(self.value)


class StartsOver(msgspec.Struct, frozen=True):
    """What came before is void: attempt number `attempt` follows, from its first chunk."""

    attempt: int


class Values:
    """Bytes of a stream in, the JSON texts it carries out."""

    def __init__(self, content_type: str) -> None:
        self._events = content_type.partition(";")[0].strip().lower() == "text/event-stream"
        self._rest = bytearray()
        self._data: list[bytes] = []
        self.heard = False  # the bytes that came last ended a line

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = data.split(b"\n")  # only at LF: a JSON text may hold every other line separator there is
        self.heard = bool(lines)
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        return [value for line in lines if (value := self._value(line.removesuffix(b"\r")))]

    def _value(self, line: bytes) -> bytes:
        if not self._events:
            return line.strip()
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line:
            whole = b"\n".join(self._data)
            self._data.clear()
            return whole
        return b""


class Pieces:
    """Bytes of a job's stream in, chunks and notices out."""

    def __init__(self, content_type: str) -> None:
        self._values = Values(content_type)

    @property
    def heard(self) -> bool:
        """Return True if the bytes that came last ended a line."""
        return self._values.heard

    def feed(self, data: bytes) -> list[Chunk | StartsOver]:
        """Take the next bytes. Raises msgspec.DecodeError for what is no JSON object."""
        return [piece for value in self._values.feed(data) if (piece := _piece(value))]


def _piece(value: bytes) -> Chunk | StartsOver | None:
    if value == b"[DONE]":  # how OpenAI's streams end
        return None
    found = decode(value, dict[str, Any])
    notice = found.get("foreman")
    if isinstance(notice, dict):
        attempt = notice.get("attempt")
        return StartsOver(attempt) if isinstance(attempt, int) else None
    return Chunk(found)
