"""Foreman as a victim: `python -m tests.crash.victim` forks one for each order, which may kill itself at a named point.

Orders are lines of JSON on standard input. Whatever a victim logs, and how it ended, are lines on standard output. All
is imported before the first fork, so that a life begins in a fraction of what a start takes. The victim runs the real
`supervisor.serve`; what is wrapped is wrapped here, in the child alone.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from foreman import supervisor
from foreman.actors import pruner
from foreman.actors.worker import Worker
from foreman.config import sources
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Answered, DeliveryEnded, Finished, Message
from tests.crash.batch_points import Transaction, watch_batches

POINTS = (
    "migration",  # in the middle of making the schema
    "before commit",  # all is written, nothing is committed
    "after commit",  # all is on disk, nobody has been told
    "claimed",  # the claim is on disk, the target knows nothing of it
    "answered",  # the target's answer is whole, and is not on disk
    "notified",  # the receiver has taken a webhook, and that is not on disk
    "pruning",  # half of the doomed jobs are deleted, and that is not committed
    "checkpoint",  # some pages of the log are in the database's file, others not
)  # in the life of a job; those of batches are in `batch_points`
SWEEP = 0.1  # seconds between the pruner's rounds; a life is short
LOOK = 50  # steps of SQLite's machine between looks during a migration


class _Fate:
    """Where this process is to die: at the nth passage of a point."""

    point: str | None = None
    left = 0


class _Orders:
    """Standard input, line by line."""

    def __init__(self) -> None:
        self._rest = b""

    def next(self) -> dict[str, Any] | None:
        """Waited for; None when nobody gives orders any more."""
        while b"\n" not in self._rest:
            if not (data := os.read(0, 65536)):
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order


def main() -> None:
    """Fork a victim for each order, one at a time, and pass on what signals it is to get."""
    orders = _Orders()
    while order := orders.next():
        if "settings" in order:  # a signal for one that has just ended is for nobody
            _let_live(order, orders)


def _let_live(order: dict[str, Any], orders: _Orders) -> None:
    alive, end = os.pipe()  # the child holds the end for as long as it lives
    pid = os.fork()
    if not pid:
        os.close(alive)
        _live(order)
    os.close(end)
    _say(born=pid)
    while alive not in select.select([0, alive], [], [])[0]:
        told = orders.next()
        os.kill(pid, told["signal"] if told else signal.SIGKILL)
        if not told:
            break
    _, status = os.waitpid(pid, 0)
    os.close(alive)
    _say(ended=os.waitstatus_to_exitcode(status))


def _live(order: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(1, 2)
        folder = Path(order["settings"]["data_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)  # away from whatever config/foreman.toml and .env there may be
        _Fate.point, _Fate.left = order["point"], order["nth"]
        _wrap()
        code = supervisor.serve(sources.load(None, order["settings"]))
    except BaseException as error:
        _say(error=repr(error))
    os._exit(code)


def _wrap() -> None:
    pruner.ROUND = SWEEP
    sqlite3.connect = functools.partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
    tell, attempt = QueueActor.tell, Worker._attempt

    async def telling(self: QueueActor, message: Message[Any]) -> None:
        if isinstance(message, Finished) and isinstance(message.outcome, Answered):
            _pass("answered")
        if isinstance(message, DeliveryEnded):
            _pass("notified")
        await tell(self, message)

    async def attempting(self: Worker, work: Any, claim: Any) -> Any:
        _pass("claimed")
        return await attempt(self, work, claim)

    QueueActor.tell = telling  # type: ignore[method-assign]
    Worker._attempt = attempting  # type: ignore[method-assign]
    watch_batches(_pass)
    _transaction.watch()


class _Connection(sqlite3.Connection):
    """A connection on which SQLite's own work can be cut short."""

    _writes = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            self._writes = True
            _transaction.begin()
        if sql == "COMMIT" and self._writes:
            _pass("before commit")
            _transaction.reach("before")
            found = super().execute(sql)
            _pass("after commit")
            _transaction.reach("after")
            return found
        if sql.startswith("PRAGMA wal_checkpoint") and _reaches("checkpoint"):
            self._die_in_checkpoint(sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        rows = list(parameters)
        if sql.startswith("DELETE FROM jobs") and rows:
            super().executemany(sql, rows[: len(rows) // 2])
            _pass("pruning")
            rows = rows[len(rows) // 2 :]
        return super().executemany(sql, rows)

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self.set_progress_handler(lambda: _pass("migration"), LOOK)
        found = super().executescript(sql)
        self.set_progress_handler(None, LOOK)
        return found

    def _die_in_checkpoint(self, sql: str) -> NoReturn:
        path = self.execute("PRAGMA database_list").fetchone()[2]
        size = os.stat(path).st_size

        def watch() -> None:
            while os.stat(path).st_size == size:
                pass
            _die()

        threading.Thread(target=watch, daemon=True).start()
        super().execute(sql).fetchall()
        _die()


def _pass(point: str) -> None:
    if _reaches(point):
        _die()


_transaction = Transaction(_pass)


def _reaches(point: str) -> bool:
    if point != _Fate.point:
        return False
    _Fate.left -= 1
    return _Fate.left == 0


def _die() -> NoReturn:
    _say(died_at=_Fate.point)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _say(**words: object) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
