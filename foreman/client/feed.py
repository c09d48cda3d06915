"""The live feed: what its messages are, and where to go on after a break; no I/O."""

from __future__ import annotations

import msgspec

from foreman.client.reading import decode
from foreman.client.stream import Values
from foreman.client.types import Event


class Feed:
    """Bytes of one connection after the other in, changes out: each once, in order.

    `after` is the `seq` to go on from, None until it is known.
    """

    def __init__(self, after: int | None) -> None:
        self.after = after
        self._values = Values("text/event-stream")

    def begin(self) -> None:
        """A new connection: what an old one left unfinished is void."""
        self._values = Values("text/event-stream")

    @property
    def heard(self) -> bool:
        """Return True if the bytes that came last ended a line."""
        return self._values.heard

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes. Raises msgspec.DecodeError for what is no message of the feed."""
        return [event for value in self._values.feed(data) if (event := self._read(value)) is not None]

    def _read(self, value: bytes) -> Event | None:
        kind = decode(value, _Message)
        if kind.type == "hello" and self.after is None:
            self.after = kind.seq  # nothing was told yet; whatever comes next comes after this
        if kind.type != "state":
            return None
        event = decode(value, Event)
        self.after = event.seq
        return event


class _Message(msgspec.Struct):
    type: str
    seq: int = 0
