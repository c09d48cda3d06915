"""What happens around a Foreman: the target stops or dies, its database is locked, receivers change their minds."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path

import trio

from tests.e2e.storm.target import Target
from tests.support.receiver import Receiver

GAP = 0.5  # seconds between two events, on average
STOPPED = 1.0  # seconds that the target stands still at most
LOCKED = (6.0, 0.5, 0.05, 0.2)  # seconds that another program holds the database, in turn; Foreman waits for 5
MOODS = ("204", "500", "410", "hang", "flood 200", "429 after=1")


class Weather:
    """Goes on until it is cancelled, and leaves nothing stopped or locked."""

    def __init__(self, dice: random.Random, target: Target, receivers: Sequence[Receiver], database: Path) -> None:
        self._dice = dice
        self._target = target
        self._receivers = receivers
        self._database = database
        self._locked = cycle(LOCKED)

    async def rage(self) -> None:
        kinds = {self._stop_target: 3, self._kill_target: 1, self._lock_database: 4, self._turn_receiver: 4}
        while True:
            await trio.sleep(self._dice.expovariate(1 / GAP))
            [kind] = self._dice.choices([*kinds], [*kinds.values()])
            await kind()

    def calm(self) -> None:
        """Have everybody but Foreman well."""
        self._target.start(well=True)
        for receiver in self._receivers:
            receiver.answer = "204"

    async def _stop_target(self) -> None:
        pid = self._target.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await trio.sleep(self._dice.uniform(0, STOPPED))
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _kill_target(self) -> None:
        await trio.to_thread.run_sync(self._target.start)

    async def _lock_database(self) -> None:
        await trio.to_thread.run_sync(self._lock, next(self._locked))

    def _lock(self, seconds: float) -> None:
        with closing(sqlite3.connect(self._database, isolation_level=None, timeout=10)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:  # Foreman itself writes without a pause, or has not made the file yet
                return
            time.sleep(seconds)
            db.execute("ROLLBACK")

    async def _turn_receiver(self) -> None:
        self._dice.choice(self._receivers).answer = self._dice.choice(MOODS)
