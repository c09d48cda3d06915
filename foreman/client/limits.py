"""Limits on the time and size of an answer; no I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from foreman.client.errors import AnswerTooLarge, ArgumentInvalid

TIMEOUT = 30.0  # seconds
SILENCE = 60.0  # seconds; Foreman sends a comment every 10 or 20
MAX_ANSWER = 128 * 2**20  # bytes; Foreman keeps answers of up to 64 MiB unless its own max_answer is larger

LONGEST = 1e6  # seconds; operating systems refuse much longer timeouts


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of every answer. Raise ArgumentInvalid for a value that is not a positive number."""

    timeout: float = TIMEOUT  # seconds for a whole answer, from the connection to its last byte
    silence: float = SILENCE  # seconds between two lines of a stream
    max_answer: int = MAX_ANSWER  # bytes of an answer, or of a stream between two items

    def __post_init__(self) -> None:
        for name in self.__slots__:
            given = getattr(self, name)
            if not isinstance(given, int | float) or math.isnan(given) or given <= 0:
                unit = "bytes" if name == "max_answer" else "seconds"
                raise ArgumentInvalid(f"{name} is {given!r}", f"give a number of {unit} above 0")


class Allowance:
    """Time and bytes that one answer may still take, counted where bytes are sent and read."""

    def __init__(self, limits: Limits, seconds: float, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._limits = limits
        self._url = url
        self._clock = clock
        self._until = clock() + seconds
        self._size = 0

    def heard(self) -> None:
        """Restart the time: a line of the stream has come."""
        self.seconds = self._limits.silence
        self._until = self._clock() + self.seconds

    def told(self) -> None:
        """Restart the count of bytes: an item of the stream is complete."""
        self._size = 0

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return min(LONGEST, max(0.0, self._until - self._clock()))

    def take(self, size: int) -> None:
        """Count received bytes. Raise AnswerTooLarge above the limit."""
        self._size += size
        if self._size > self._limits.max_answer:
            raise AnswerTooLarge(self._url, f"more than {self._limits.max_answer:,} bytes")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply it to all that this thread or task sends and reads meanwhile."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


def current() -> Allowance | None:
    """Return the allowance of this thread or task."""
    return _CURRENT.get()


_CURRENT: ContextVar[Allowance | None] = ContextVar("allowance", default=None)
