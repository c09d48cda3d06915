"""How long an answer may take and how large it may be; no I/O."""

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
MAX_ANSWER = 128 * 2**20  # bytes; Foreman keeps answers of 64 MiB, unless it was told to keep larger ones

LONGEST = 1e6  # seconds that an operating system can be told to wait


@dataclass(frozen=True, slots=True)
class Limits:
    """What every answer is held to. Raises ArgumentInvalid for what is no limit."""

    timeout: float = TIMEOUT  # seconds for a whole answer, from the connection to its last byte
    silence: float = SILENCE  # seconds between two lines of a stream
    max_answer: int = MAX_ANSWER  # bytes of an answer, or of what a stream sends between two things that it tells

    def __post_init__(self) -> None:
        for name in self.__slots__:
            given = getattr(self, name)
            if not isinstance(given, int | float) or math.isnan(given) or given <= 0:
                unit = "bytes" if name == "max_answer" else "seconds"
                raise ArgumentInvalid(f"{name} is {given!r}", f"give a number of {unit} above 0")


class Allowance:
    """What one answer may still take: counted where bytes are sent and read, whatever they are."""

    def __init__(self, limits: Limits, seconds: float, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._limits = limits
        self._url = url
        self._clock = clock
        self._until = clock() + seconds
        self._size = 0

    def heard(self) -> None:
        """A line of a stream has come: the next one has its own time."""
        self.seconds = self._limits.silence
        self._until = self._clock() + self.seconds

    def told(self) -> None:
        """Something was told of what has come: what follows is counted anew."""
        self._size = 0

    def left(self) -> float:
        """Return the seconds that are left, 0 when there are none."""
        return min(LONGEST, max(0.0, self._until - self._clock()))

    def take(self, size: int) -> None:
        """Count bytes that have come. Raises AnswerTooLarge."""
        self._size += size
        if self._size > self._limits.max_answer:
            raise AnswerTooLarge(self._url, f"more than {self._limits.max_answer:,} bytes")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Hold to it what this thread, or this task, sends and reads meanwhile."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


def current() -> Allowance | None:
    """Return the allowance that is applied here."""
    return _CURRENT.get()


_CURRENT: ContextVar[Allowance | None] = ContextVar("allowance", default=None)
