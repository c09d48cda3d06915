"""The watchdog: logs the tasks and threads that block the event loop."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

import structlog
import trio

log = structlog.get_logger()

TOO_LONG = 0.1  # seconds
LOOK_EVERY = 0.04  # seconds between samples of the watching thread
NANOSECOND = 1e-9  # seconds


class _OffCore:
    """A counter of the seconds that a thread was runnable without a core."""

    def __init__(self, thread: int) -> None:
        try:  # stays open, since descriptors may run out when it matters
            self._descriptor = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not Linux
            self._descriptor = -1

    def seconds(self) -> float:
        """Return the seconds so far; 0 where the system does not count them."""
        if self._descriptor < 0:
            return 0.0
        return int(os.pread(self._descriptor, 100, 0).split()[1]) * NANOSECOND

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class _Look:
    """A sample of the clocks, in seconds."""

    at: float
    cpu: float  # spent by all threads of the process
    loop_off: float  # without a core: the loop's thread
    own_off: float  # without a core: the watching thread

    @classmethod
    def now(cls, loop: _OffCore, own: _OffCore) -> _Look:
        return cls(time.perf_counter(), time.process_time(), loop.seconds(), own.seconds())


class Watchdog(trio.abc.Instrument):
    """An instrument that logs tasks and threads blocking the event loop for more than `limit` seconds.

    The loop only records the start of its turns, which is cheap. A thread samples it, and reports a task found running
    twice in the same turn. If the thread itself was blocked, such as by one long call of a C function, the time counts
    from its due sample. Time without a core, while the machine ran other processes, is excluded (on Linux; see
    schedstats in the kernel's documentation). It watches nothing until `install`.
    """

    def __init__(self, limit: float = TOO_LONG) -> None:
        self._limit = limit
        self._loop = threading.get_ident()
        self._loop_id = threading.get_native_id()
        self._over = threading.Event()
        self._turn = 0
        self._began: float | None = time.perf_counter()  # of the turn; None while the loop waits
        self.longest = 0.0  # seconds of the longest turn
        self.held = 0  # number of reports

    def install(self) -> None:
        """Watch the running loop, until it ends. Call it once, on the loop's own thread."""
        trio.lowlevel.add_instrument(self)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def before_io_wait(self, timeout: float) -> None:
        """Record the end of a turn of the loop."""
        if self._began is not None:
            self.longest = max(self.longest, time.perf_counter() - self._began)
        self._began = None

    def after_io_wait(self, timeout: float) -> None:
        """Record the start of a turn of the loop."""
        self._turn += 1
        self._began = time.perf_counter()

    def after_run(self) -> None:
        """Stop the watching thread."""
        self._over.set()

    def _watch(self) -> None:
        clocks = _OffCore(self._loop_id), _OffCore(threading.get_native_id())
        seen: tuple[int, int] | None = None  # turn and task
        now = first = _Look.now(*clocks)
        since, reported = 0.0, False
        while not self._over.wait(LOOK_EVERY):
            turn, began = self._turn, self._began  # before the clocks: reading them lets the loop run
            # Only of a late loop: Python 3.11 may crash or lock up while it reads another thread's frames
            # (python/cpython#106883, #111363).
            late = began is not None and time.perf_counter() - began >= self._limit / 2
            frame = sys._current_frames().get(self._loop) if late else None
            found = _task_frame(frame) if frame else None
            task, where = _name(found), _name(frame)
            before, now = now, _Look.now(*clocks)
            if began is None or found is None:
                seen = None
                self._report_threads(before, now)
                continue
            if seen != (turn, id(found)):
                wanted = before.at + LOOK_EVERY + (now.own_off - before.own_off)
                seen, since, first, reported = (turn, id(found)), max(wanted, began), before, False
            seconds = now.at - since - (now.loop_off - first.loop_off)
            if seconds > self._limit and not reported:
                reported = True
                cpu = min(now.cpu - first.cpu, seconds)
                self._report("a task", seconds, cpu, task=task, where=where)
        for clock in clocks:
            clock.close()

    def _report_threads(self, before: _Look, now: _Look) -> None:
        """Report a thread that kept the interpreter for itself between two samples."""
        seconds = now.at - before.at - LOOK_EVERY - (now.own_off - before.own_off)
        cpu = now.cpu - before.cpu
        if min(seconds, cpu) > self._limit:
            own = threading.get_ident()
            where = [_name(frame) for thread, frame in sys._current_frames().items() if thread != own]
            self._report("a thread", seconds, cpu, where=where)

    def _report(self, who: str, seconds: float, cpu: float, **known: object) -> None:
        self.held += 1
        log.warning(f"{who} held the loop", **known, seconds=round(seconds, 3), cpu_seconds=round(cpu, 3))


def _task_frame(frame: FrameType) -> FrameType | None:
    """Return the outermost frame of the running task: the one called by Trio's own loop."""
    below: FrameType | None = None
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_name == "unrolled_run" and at.f_globals.get("__name__") == "trio._core._run":
            return below
        below, at = at, at.f_back
    return None


def _name(frame: FrameType | None) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else "?"
