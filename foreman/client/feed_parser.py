"""Parser of the live feed; remembers where to resume after a break; no I/O."""

from __future__ import annotations

import msgspec

from foreman.client.output_parser import Values
from foreman.client.reading import decode
from foreman.domain.views import Event


class FeedParser:
    """Parser of the feed over successive connections: bytes in, events out, each once and in order.

    `after` is the `seq` to resume from, None until it is known; `greeted` counts the connections that have begun.
    """

    def __init__(self, after: int | None) -> None:
        self.after = after
        self.greeted = 0
        self._values = Values("text/event-stream")

    def begin(self) -> None:
        """Start a new connection; drop the unfinished message of the old one."""
        self._values = Values("text/event-stream")

    @property
    def heard(self) -> bool:
        """True if the last bytes ended a line."""
        return self._values.heard

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return their events. Raise msgspec.DecodeError for an invalid message."""
        return [event for value in self._values.feed(data) if (event := self._read(value)) is not None]

    def _read(self, value: bytes) -> Event | None:
        kind = decode(value, _Message)
        if kind.type == "hello":
            self.greeted += 1
            if self.after is None:
                self.after = kind.seq  # no event was returned yet: all that follow come after this one
        if kind.type != "state":
            return None
        event = decode(value, Event)
        self.after = event.seq
        return event


class _Message(msgspec.Struct):
    type: str
    seq: int = 0
