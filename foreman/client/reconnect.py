"""Decide whether and when to reconnect a broken stream; no I/O, no clock."""

from __future__ import annotations

RETRY_FOR = 60.0  # seconds of an outage for which a call keeps trying by default
PAUSES = (0.2, 2.0)  # seconds between tries: the first and the longest; they double
STEADY = 5.0  # seconds; a connection that lasts this long ends the outage before it


class Reconnect:
    """Reconnection policy: try for `longest` seconds of an outage; give up at once if the first connection fails."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._ever_connected = False
        self._connected: float | None = None  # since when, while it is
        self._outage: float | None = None  # since when
        self._pause = PAUSES[0]

    def connected(self, now: float) -> None:
        """Note that a connection was made."""
        self._ever_connected = True
        self._connected = now

    def ended(self) -> float:
        """Note that the stream ended before its job did; return the seconds until the next try."""
        self._connected = self._outage = None
        return self._next()

    def broke(self, now: float) -> float | None:
        """Note that the connection broke or failed; return the seconds until the next try, None to give up."""
        held = self._connected is not None and now - self._connected >= STEADY
        self._connected = None
        if self._outage is None or held:
            self._outage, self._pause = now, PAUSES[0]
        if not self._ever_connected or now - self._outage >= self._longest:
            return None
        return self._next()

    def _next(self) -> float:
        pause, self._pause = self._pause, min(PAUSES[1], self._pause * 2)
        return pause
