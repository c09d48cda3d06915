"""The watchdog: names the task that held the event loop."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

import structlog
import trio

log = structlog.get_logger()

TOO_LONG = 0.1  # seconds
LOOK_EVERY = 0.04  # seconds between the looks of the watching thread


class Watchdog(trio.abc.Instrument):
    """Logs every task that went on for more than `limit` seconds without giving the others a turn.

    The loop only notes when its turns begin, which costs next to nothing; a thread looks on, and names whoever it finds
    at work twice in the same turn. Put in place with `trio.lowlevel.add_instrument` on the loop's own thread.
    """

    def __init__(self, limit: float = TOO_LONG) -> None:
        self._limit = limit
        self._loop = threading.get_ident()
        self._over = threading.Event()
        self._turn = 0
        self._began: float | None = time.perf_counter()  # of the turn; None while the loop waits
        self.longest = 0.0  # seconds of the longest turn
        self.held = 0  # how often a task held the loop
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def before_io_wait(self, timeout: float) -> None:
        if self._began is not None:
            self.longest = max(self.longest, time.perf_counter() - self._began)
        self._began = None

    def after_io_wait(self, timeout: float) -> None:
        self._turn += 1
        self._began = time.perf_counter()

    def after_run(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        seen: tuple[int, int] | None = None  # turn and task
        since = 0.0
        reported = False
        while not self._over.wait(LOOK_EVERY):
            now, turn, began = time.perf_counter(), self._turn, self._began
            if began is None or now - began < self._limit / 2:
                seen = None
                continue
            frame = sys._current_frames().get(self._loop)
            found = _task_frame(frame) if frame else None
            if found is None:
                seen = None
            elif seen != (turn, id(found)):
                seen, since, reported = (turn, id(found)), now, False
            elif now - since > self._limit and not reported:
                reported = True
                self.held += 1
                log.warning(
                    "a task held the loop", task=_name(found), where=_name(frame), seconds=round(now - began, 3)
                )


def _task_frame(frame: FrameType) -> FrameType | None:
    """The outermost frame of the task at work: the one that Trio's own loop called."""
    below: FrameType | None = None
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_name == "unrolled_run" and at.f_globals.get("__name__") == "trio._core._run":
            return below
        below, at = at, at.f_back
    return None


def _name(frame: FrameType | None) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else "?"
