"""The watchdog: names the task that held the event loop."""

from __future__ import annotations

import time

import structlog
import trio

log = structlog.get_logger()

TOO_LONG = 0.1  # seconds


class Watchdog(trio.abc.Instrument):
    """Logs every step of a task that took longer than `limit` seconds, and remembers the longest."""

    def __init__(self, limit: float = TOO_LONG) -> None:
        self._limit = limit
        self._began = time.perf_counter()  # it may be put in place in the middle of a step
        self.longest = 0.0  # seconds
        self.held = 0  # how often the limit was passed

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.perf_counter() - self._began
        if took <= self.longest and took <= self._limit:  # this runs at every step of every task
            return
        self.longest = max(self.longest, took)
        if took > self._limit:
            self.held += 1
            log.warning("a task held the loop", task=task.name, seconds=round(took, 3))
