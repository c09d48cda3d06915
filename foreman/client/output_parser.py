"""Parser of a job's output stream, NDJSON or server-sent events; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.client.extract import text_of, thinking_of
from foreman.client.reading import decode
from foreman.domain.sse import Events, Lines


class Chunk(msgspec.Struct, frozen=True):
    """A chunk of the answer, in the streaming format of the job's endpoint."""

    value: dict[str, Any]

    @property
    def text(self) -> str:
        """The text of the chunk; empty when it has none."""
        return text_of(self.value)

    @property
    def thinking(self) -> str:
        """The reasoning text of the chunk; empty when it has none."""
        return thinking_of(self.value)


class StartsOver(msgspec.Struct, frozen=True):
    """Discard the chunks so far: attempt number `attempt` follows from its first chunk."""

    attempt: int


class Values:
    """Parser of a stream: bytes in, JSON texts out."""

    def __init__(self, content_type: str) -> None:
        self._events = content_type.partition(";")[0].strip().lower() == "text/event-stream"
        self._lines = Lines()
        self._parser = Events()
        self.heard = False  # the last bytes ended a line

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the JSON texts that they complete."""
        lines = self._lines.feed(data)
        self.heard = bool(lines)
        if not self._events:
            return [value for line in lines if (value := line.strip())]
        return [event[1] for line in lines if (event := self._parser.take(line)) and event[1]]


class OutputParser:
    """Parser of a job's stream: bytes in, chunks and restarts out."""

    def __init__(self, content_type: str) -> None:
        self._values = Values(content_type)

    @property
    def heard(self) -> bool:
        """True if the last bytes ended a line."""
        return self._values.heard

    def feed(self, data: bytes) -> list[Chunk | StartsOver]:
        """Take the next bytes and return their items. Raise msgspec.DecodeError for anything but JSON objects."""
        return [item for value in self._values.feed(data) if (item := _item(value))]


def _item(value: bytes) -> Chunk | StartsOver | None:
    if value == b"[DONE]":  # the end of OpenAI's streams
        return None
    found = decode(value, dict[str, Any])
    marker = found.get("foreman")
    if isinstance(marker, dict):
        attempt = marker.get("attempt")
        return StartsOver(attempt) if isinstance(attempt, int) else None
    return Chunk(found)
