"""Signals that end a program on a terminal, turned into an orderly end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = (signal.SIGTERM, signal.SIGHUP)
WOKEN = 0.25  # seconds between two interruptions of whatever waits


@contextmanager
def ends_orderly() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that the terminal is restored.

    Python sees a signal between two of its own instructions only: one that comes just before a wait in C, such as
    readline's for a key, would be seen after that wait. So a timer interrupts all waits.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    def wake(_number: int, _frame: FrameType | None) -> None:
        """Do nothing: to be interrupted is enough."""

    before = {number: signal.signal(number, end) for number in ENDS}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, WOKEN, WOKEN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
