"""Whether a broken stream is taken up again, and after which pause; no I/O, no clock."""

from __future__ import annotations

RETRY_FOR = 60.0  # seconds of trouble that a call bears unless told otherwise
PAUSES = (0.2, 2.0)  # seconds between tries: the first, the longest; doubling
STEADY = 5.0  # seconds; a connection that held as long ends the trouble before it


class Reconnect:
    """Tries again for `longest` seconds of trouble; a first connection that fails is not tried again at all."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._ever_connected = False
        self._connected: float | None = None  # since when, while it is
        self._trouble: float | None = None  # since when
        self._pause = PAUSES[0]

    def connected(self, now: float) -> None:
        self._ever_connected = True
        self._connected = now

    def ended(self) -> float:
        """The stream ended well, though its job has not; seconds until the next try."""
        self._connected = self._trouble = None
        return self._next()

    def broke(self, now: float) -> float | None:
        """The connection broke, or could not be made; seconds until the next try, None to give up."""
        held = self._connected is not None and now - self._connected >= STEADY
        self._connected = None
        if self._trouble is None or held:
            self._trouble, self._pause = now, PAUSES[0]
        if not self._ever_connected or now - self._trouble >= self._longest:
            return None
        return self._next()

    def _next(self) -> float:
        pause, self._pause = self._pause, min(PAUSES[1], self._pause * 2)
        return pause
