"""Foreman with a fault in it: `python -m tests.faults.broken FAULT` is `foreman serve`, and the fault comes at SIGUSR1.

Each fault is put in place here, in the test's own process, around the real parts.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import trio

from foreman import app, restart, supervisor
from foreman.__main__ import main
from foreman.actors import pruner
from foreman.domain.endpoints.question import Question
from foreman.domain.retry import Backoff
from foreman.domain.scheduling import breaker
from foreman.domain.translate import request
from foreman.http.compat import calls
from foreman.restart import RestartLimit
from foreman.store.sqlite import database
from tests.support.foreman import Daemon

HOUR = 3600.0
QUICK = 0.02  # seconds between rounds, and before a restart
LITTLE = 30  # pages that a full disk has left


class Broken(Daemon):
    """A Foreman with a fault that is not there yet."""

    def __init__(self, error: str, data_dir: Path, **settings: object) -> None:
        super().__init__(data_dir, **settings)
        self.command = (sys.executable, "-m", "tests.faults.broken", error)

    def break_now(self) -> dict[str, Any]:
        """Returns what it says once the fault is there."""
        return self._send(signal.SIGUSR1)

    def mend(self) -> dict[str, Any]:
        """Returns what it says once the fault is gone again."""
        return self._send(signal.SIGUSR2)

    def _send(self, number: int) -> dict[str, Any]:
        before = len(self._heard())
        os.kill(self.pid, number)
        return self.child.line(lambda _: heard[before] if len(heard := self._heard()) > before else None)

    def _heard(self) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["event"] == "heard"]


def sync(*, kept: bool) -> None:
    """A commit ends with an I/O error, and the file has it, or has it not."""

    class Connection(_Connection):
        def begins(self) -> None:
            self._before = self.total_changes

        def commits(self) -> None:
            if not _heard[signal.SIGUSR1] or self.total_changes == self._before:  # a claim that found nothing
                return
            if kept:
                super().commit()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
            raise error

    _connect_with(Connection)


def full() -> None:
    """The database may not grow any more, until it is mended."""

    class Connection(_Connection):
        def begins(self) -> None:
            pages = sqlite3.Connection.execute(self, "PRAGMA page_count").fetchone()[0]
            is_full = _heard[signal.SIGUSR1] > _heard[signal.SIGUSR2]
            self._most = (self._most or pages + LITTLE) if is_full else 0
            sqlite3.Connection.execute(self, f"PRAGMA max_page_count = {self._most or 2**31}")

        _most = 0

    _connect_with(Connection)


def hung() -> None:
    """The disk takes nothing and says nothing, until it is mended."""

    class Connection(_Connection):
        def begins(self) -> None:
            while _heard[signal.SIGUSR1] > _heard[signal.SIGUSR2]:
                time.sleep(QUICK)

    _connect_with(Connection)


def clock() -> None:
    """The clock goes an hour forward at each SIGUSR1, and an hour back at each SIGUSR2."""

    def now() -> float:
        return time.time() + HOUR * (_heard[signal.SIGUSR1] - _heard[signal.SIGUSR2])

    supervisor.serve = functools.partial(supervisor.serve, clock=now)


def impatient() -> None:
    """No fault: the locks of other programs are waited for a moment only."""
    database.TIMEOUT = database.AGAIN


def actor() -> None:
    """The pruner fails once for each SIGUSR1, and for ever after a SIGUSR2."""
    pruner.ROUND = QUICK
    restart.RestartLimit = functools.partial(RestartLimit, first=QUICK, longest=QUICK)  # type: ignore[assignment, misc]
    sweep = pruner.sweep
    failed = 0

    async def failing(queue: Any, blobs: Any, *, coordinates: bool = True) -> int:
        nonlocal failed
        if _heard[signal.SIGUSR2] or failed < _heard[signal.SIGUSR1]:
            failed += 1
            raise RuntimeError("a bug")
        return await sweep(queue, blobs, coordinates=coordinates)

    pruner.sweep = failing


def down() -> None:
    """The pruner fails once for each SIGUSR1, and stays away for an hour."""
    actor()
    restart.RestartLimit = functools.partial(RestartLimit, first=HOUR, longest=HOUR)  # type: ignore[assignment, misc]


def counted() -> None:
    """No fault: how many tasks there are is said at each SIGUSR1, and how many objects no collection looks at."""

    class Count(trio.abc.Instrument):
        tasks = 1

        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            self.tasks += 1

        def task_exited(self, task: trio.lowlevel.Task) -> None:
            self.tasks -= 1

    count = Count()
    build = app.build

    def building(*given: Any, **named: Any) -> Any:
        trio.lowlevel.add_instrument(count)
        return build(*given, **named)

    app.build = building
    _words.update(tasks=lambda: count.tasks, frozen=gc.get_freeze_count)


def poison() -> None:
    """The process dies in the middle of translating a request that holds the word, in whichever thread."""
    translate = request.chat

    def deadly(payload: bytes, model: str) -> Question:
        if b"poison" in payload:
            os.kill(os.getpid(), signal.SIGKILL)
        return translate(payload, model)

    request.chat = deadly


def quick() -> None:
    """No fault: models whose calls fail rest for a moment only."""
    breaker.PAUSES = Backoff(QUICK, 10 * QUICK, jitter=0)


def dogged() -> None:
    """No fault: no model rests, however many of its calls fail."""
    breaker.FAILURES = 1_000_000


def hasty() -> None:
    """No fault: tokens must be counted in no time."""
    calls.COUNT_TIMEOUT = 10 * QUICK


FAULTS: dict[str, Callable[[], None]] = {
    "sync-lost": functools.partial(sync, kept=False),
    "sync-kept": functools.partial(sync, kept=True),
    "full": full,
    "hung": hung,
    "impatient": impatient,
    "clock": clock,
    "actor": actor,
    "down": down,
    "counted": counted,
    "poison": poison,
    "quick": quick,
    "hasty": hasty,
    "dogged": dogged,
}

_heard = {signal.SIGUSR1: 0, signal.SIGUSR2: 0}
_words: dict[str, Callable[[], object]] = {}


class _Connection(sqlite3.Connection):
    """A connection whose transactions can be met at both ends; those of readers begin otherwise."""

    def begins(self) -> None:
        pass

    def commits(self) -> None:
        pass

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            self.begins()
            self._writes = True
        if sql == "COMMIT" and self._writes:
            self.commits()
        return super().execute(sql, parameters)

    _writes = False


def _connect_with(factory: type[sqlite3.Connection]) -> None:
    sqlite3.connect = functools.partial(sqlite3.connect, factory=factory)  # type: ignore[assignment]


def _hear(number: int, frame: FrameType | None) -> None:
    _heard[signal.Signals(number)] += 1
    said = {"event": "heard", "level": "info"} | {name: say() for name, say in _words.items()}
    os.write(2, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    for one in _heard:
        signal.signal(one, _hear)
    FAULTS[sys.argv[1]]()
    sys.argv[1:] = ["serve"]
    main()
