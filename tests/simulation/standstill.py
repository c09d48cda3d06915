"""Standing still, as under SIGSTOP: no task under some task runs, whatever wakes it, until it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import trio
from trio._core import _run as scheduler


class Processes:
    """The tasks of a Trio run as those of several processes, each of which may stand still."""

    def __init__(self) -> None:
        self._roots: dict[trio.lowlevel.Task, str] = {}
        self._known: WeakKeyDictionary[trio.lowlevel.Task, str] = WeakKeyDictionary()
        self._still: dict[str, list[trio.lowlevel.Task]] = {}  # what would have run, by process

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch what the scheduler runs from here on."""
        runner = scheduler.GLOBAL_RUN_CONTEXT.runner
        runner.runq = _Runnable(self, runner.runq)
        try:
            yield
        finally:
            runner.runq = deque(runner.runq)

    @contextmanager
    def process(self, name: str) -> Iterator[None]:
        """Have this task, and all under it, be the process `name`."""
        task = trio.lowlevel.current_task()
        self._roots[task] = name
        try:
            yield
        finally:
            del self._roots[task]
            self.go_on(name)

    def of(self, task: trio.lowlevel.Task) -> str:
        """Return the process of a task, empty outside of any."""
        found = self._known.get(task)
        if found is None:
            parent = task.parent_nursery
            found = self._roots.get(task) or (self.of(parent.parent_task) if parent is not None else "")
            if found:
                self._known[task] = found
        return found

    def stop(self, name: str) -> None:
        """Have a process stand still."""
        self._still.setdefault(name, [])

    def is_still(self, name: str) -> bool:
        """Return True while a process stands still."""
        return name in self._still

    def go_on(self, name: str) -> None:
        """Have a process run again: what has woken its tasks meanwhile wakes them now."""
        scheduler.GLOBAL_RUN_CONTEXT.runner.runq.extend(self._still.pop(name, []))

    def holds(self, task: trio.lowlevel.Task) -> bool:
        """Keep a task from running if its process stands still."""
        if not self._still or (waiting := self._still.get(self.of(task))) is None:
            return False
        waiting.append(task)
        return True


class _Runnable(deque[trio.lowlevel.Task]):
    """The scheduler's queue of tasks that can run."""

    def __init__(self, processes: Processes, tasks: deque[trio.lowlevel.Task]) -> None:
        super().__init__(tasks)
        self._processes = processes

    def append(self, task: trio.lowlevel.Task) -> None:
        if not self._processes.holds(task):
            super().append(task)
