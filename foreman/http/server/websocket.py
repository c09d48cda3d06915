"""Fixes to Hypercorn's websockets: close codes on protocol errors, and bounds on buffered messages."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import hypercorn.protocol.ws_stream as hypercorn_websocket
from hypercorn.protocol.ws_stream import Handshake
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message


class _Frames(Connection):
    def events(self) -> Generator[Event, None, None]:
        for event in super().events():
            if isinstance(event, CloseConnection) and self._state is ConnectionState.OPEN:
                # The client broke the protocol. Hypercorn would disconnect without a close code (RFC 6455, 7.1.7): it
                # sends one only in reply to a client's close.
                self._state = ConnectionState.REMOTE_CLOSING
            if isinstance(event, Message) and self._state is not ConnectionState.OPEN:
                continue  # Hypercorn would keep buffering after an oversized message
            yield event


class _Handshake(Handshake):
    def accept(
        self, subprotocol: str | None, additional_headers: Iterable[tuple[bytes, bytes]]
    ) -> tuple[int, list[tuple[bytes, bytes]], Connection]:
        self.extensions = None  # no compression: a client's 64 KiB could unfold to 64 MiB
        status, headers, _ = super().accept(subprotocol, additional_headers)
        return status, headers, _Frames(ConnectionType.SERVER)


def install() -> None:
    """Install the fixes in Hypercorn."""
    hypercorn_websocket.Handshake = _Handshake  # type: ignore[misc]
