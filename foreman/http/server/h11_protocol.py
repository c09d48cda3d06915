"""Hypercorn's HTTP/1 on h11, with fixes; the setting `http_parser` selects it."""

from __future__ import annotations

import h11
import hypercorn.protocol.h11 as hypercorn_h11
from hypercorn.protocol.events import Body, Event, Response
from hypercorn.typing import H11SendableEvent

from foreman.http.server.answer_writer import REASONS
from foreman.http.server.asgi_stream import HttpStream, Opening

hypercorn_h11.HTTPStream = HttpStream  # type: ignore[attr-defined,assignment]


class H11Protocol(hypercorn_h11.H11Protocol):
    """Hypercorn's protocol with three changes: no ambiguous length, no HTTP/2, and reason phrases."""

    def receive(self, data: bytes) -> None:
        """Keep data for later."""
        self.connection.receive_data(data)

    async def stream_send(self, event: Event) -> None:
        """Send an event of the stream."""
        if isinstance(event, Opening):
            await super().stream_send(Response(event.stream_id, event.headers, event.status_code))
            event = Body(event.stream_id, event.data)
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """End the connection after a request of ambiguous length.

        Content-Length beside Transfer-Encoding permits request smuggling (RFC 9112, 6.1). This replaces Hypercorn's
        check for HTTP/2 without TLS, which would evade the limits on slow readers.
        """
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
            self.connection._cstate.process_keep_alive_disabled()  # type: ignore[union-attr]

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Send an event of h11 with a reason phrase: Hypercorn leaves it empty, and Ollama's command line shows it."""
        if isinstance(event, (h11.Response, h11.InformationalResponse)):
            object.__setattr__(event, "reason", REASONS.get(event.status_code, b""))  # frozen, but not shared yet
        await super()._send_h11_event(event)
