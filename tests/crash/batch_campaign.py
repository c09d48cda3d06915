"""A campaign over batches: Foreman is killed at each point of their lives, from the upload to the files.

It goes in rounds, each with a data folder of its own. A life has one batch more than the one before it; clients take up
what a kill has broken off, and so batches meet several kills.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import trio

from tests.bench.daemon import child
from tests.crash.batch_client import Asked, Client, Told, draft
from tests.crash.batch_points import PASSAGES, POINTS
from tests.crash.batch_verdict import judge, judge_batches, orphans, reader
from tests.crash.campaign import Tally
from tests.crash.lives import Lives, lives
from tests.crash.verdict import StaticAnswer

ROUND = 20  # kills; no job may meet more
CLIENTS = 4  # batches that are followed in one life, at most
LIFE = (0.0, 0.8)  # seconds between serving and a kill at a random moment
TIMEOUT = 10.0  # seconds until one that did not come to its point is killed where it is
SETTLE = 60.0  # seconds for all to end once nobody kills any more
WINDOW = 0.4  # seconds in which batches that are to expire may take


class Kill(NamedTuple):
    """A kill: what becomes of the new batch of that life, and where it happens."""

    fate: str
    point: str | None  # None: at a random moment
    nth: int = 1  # passage

    def __str__(self) -> str:
        return f"batch {self.fate}: {self.point or 'a random moment'}"


EACH = [Kill(fate, point) for fate, points in POINTS.items() for point in points]


@dataclass(slots=True)
class BatchTally(Tally):
    """What the rounds have brought so far."""

    def report(self) -> str:
        """Return the figures in words."""
        found = self.verdict
        return (
            f"{self.acknowledged} batches acknowledged; {self.unanswered} requests without an answer; "
            f"{found.pruned} jobs of batches pruned\n{found.interrupted} attempts interrupted, {found.events} events\n"
            + "".join(f"  {count:5} kills: {point}\n" for point, count in sorted(self.kills.items()))
            + str(self)
            + "".join(f"\n  {line}" for line in found.complaints)
        )


def plans(kills: int, chance: random.Random) -> Iterator[list[Kill]]:
    """Yield the kills of each round: each point in turn, in any order, and between them random moments."""
    left = _endless(chance)
    while kills > 0:
        yield sorted(islice(left, min(ROUND, kills)), key=lambda kill: kill.fate == "is pruned")
        kills -= ROUND


def _endless(chance: random.Random) -> Iterator[Kill]:
    while True:
        some = [*EACH, *(Kill(chance.choice([*POINTS][:4]), None) for _ in range(len(EACH) // 2))]
        for kill in chance.sample(some, len(some)):
            most = next((most for name, most in PASSAGES.items() if (kill.point or "").startswith(name)), 1)
            yield kill._replace(nth=chance.randint(1, most))


async def campaign(folder: Path, tally: Tally, rounds: Sequence[Sequence[Kill]], *, seed: int, lanes: int = 1) -> None:
    """Kill as the rounds say, `lanes` of them at a time; `tally` grows meanwhile."""
    chance = random.Random(seed)
    left = [(number, plan, random.Random(chance.random())) for number, plan in enumerate(rounds)]
    async with child("tests.support.target", "--kind", "openai", "--models", "a,b") as target:

        async def lane() -> None:
            async with lives(folder / "parents.log") as victims:
                while left:
                    number, plan, own = left.pop(0)
                    await _Round(folder / f"batches-{number}", target["port"], victims, own, tally).run(plan)

        async with trio.open_nursery() as nursery:
            for _ in range(lanes):
                nursery.start_soon(lane)


class _Round:
    """One data folder, from its first Foreman to its last."""

    def __init__(self, folder: Path, target: int, victims: Lives, chance: random.Random, tally: Tally) -> None:
        self._folder = folder
        self._database = folder / "foreman.db"
        self._victims = victims
        self._chance = chance
        self._tally = tally
        self._told = Told()
        self._pruned = StaticAnswer()
        self._gone: set[int] = set()  # numbers of batches that are pruned
        self._settings: dict[str, object] = {
            "addr": "127.0.0.1:0",
            "data_dir": str(folder),
            "log_format": "json",
            "openai_url": f"http://127.0.0.1:{target}",
            "slots": 4,
            "poll_interval": "1s",
            "max_attempts": 20,
            "retry_backoff": "50ms",
            "retry_backoff_max": "200ms",
            "shutdown_grace": "10s",
        }

    async def run(self, plan: Sequence[Kill]) -> None:
        """Live and die as the plan says, then live on until all is settled, and be judged."""
        for kill in plan:
            if kill.fate == "is pruned" and not self._retire():
                await self._peaceful_life()
                self._retire()
            died = await self._life(kill)
            self._tally.kills[str(kill if died else kill._replace(point=None))] += 1
        await self._peaceful_life()
        tally, told = self._tally, self._told
        tally.verdict += judge(self._database, told.asked, self._gone, self._pruned)
        tally.verdict.pruned += len(self._pruned.retired)
        tally.rounds += 1
        tally.acknowledged += sum(one.batch_id is not None for one in told.asked)
        tally.unanswered += told.unanswered

    async def _life(self, kill: Kill) -> bool:
        """Start, make one batch more, kill; return True when it died at its point."""
        victims, expires = self._victims, kill.fate == "expires"
        await victims.begin(
            self._settings | ({"batch_window": WINDOW} if expires else {}), point=kill.point, nth=kill.nth
        )
        if await victims.wait_serving():
            async with trio.open_nursery() as nursery:
                client = Client(victims.port, self._told, short=expires)
                if kill.fate != "is pruned":
                    self._told.asked.append(draft(len(self._told.asked), kill.fate, self._chance))
                for asked in self._open()[-CLIENTS:]:
                    nursery.start_soon(client.follow, asked)
                with trio.move_on_after(TIMEOUT if kill.point else self._chance.uniform(*LIFE)):
                    await victims.ended.wait()
                await victims.kill()
                nursery.cancel_scope.cancel()
        if victims.code != -9:
            self._tally.verdict.complain("illegal", f"it ended with {victims.code}: {victims.words[-5:]}")
        self._hear()
        return victims.died_at is not None

    async def _peaceful_life(self) -> None:
        """Start, let all batches end and all that is too much be removed, leave in order."""
        victims = self._victims
        await victims.begin(self._settings)
        if not await victims.wait_serving():
            raise AssertionError(f"it does not start any more: {victims.words[-5:]}")
        client = Client(victims.port, self._told, short=False)
        with trio.fail_after(SETTLE):
            async with trio.open_nursery() as nursery:
                for asked in self._open():
                    nursery.start_soon(client.finish, asked)
            while not self._settled():  # noqa: ASYNC110 - it happens in another process
                await trio.sleep(0.05)
        if code := await victims.stop():
            self._tally.verdict.complain("illegal", f"it left with {code}: {victims.words[-5:]}")
        self._hear()

    def _open(self) -> list[Asked]:
        return [asked for asked in self._told.asked if not asked.over]

    def _settled(self) -> bool:
        """Return True when all batches have ended, all that is past its time is removed, and no blob is left over."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as db:
            (left,) = db.execute("SELECT count(*) FROM batches WHERE ended_at IS NULL OR expires_at < 10").fetchone()
        return not left and not orphans(self._folder)

    def _retire(self) -> bool:
        """While no Foreman runs: have batches that have ended be past their time; return False without any.

        They are judged before.
        """
        with closing(sqlite3.connect(self._database)) as db:
            ended = {
                number for (number,) in db.execute(
                    "SELECT metadata ->> 'number' FROM batches WHERE ended_at IS NOT NULL AND state <> 'failed'"
                )
            }  # fmt: skip
            over = [one for one in self._told.asked if one.over and one.number not in self._gone]
            ripe = [one for one in over if str(one.number) in ended][:3]
            judge_batches(db, reader(self._folder), ripe, self._tally.verdict)
            for asked in ripe:
                for (job_id,) in db.execute("SELECT id FROM jobs WHERE batch_id = ?", (asked.batch_id,)).fetchall():
                    events = db.execute("SELECT seq, state FROM events WHERE job_id = ?", (job_id,))
                    self._pruned.retired[job_id] = dict(events.fetchall())
                db.execute("UPDATE batches SET expires_at = 1 WHERE id = ?", (asked.batch_id,))
                db.execute("DELETE FROM files WHERE filename LIKE ?", (f"{asked.batch_id}%",))
                self._gone.add(asked.number)
            db.commit()
        return bool(ripe)

    def _hear(self) -> None:
        """Complain of errors in the log."""
        for line in self._victims.words:
            if '"level": "error"' in line or '"level":"error"' in line:
                self._tally.verdict.complain("illegal", line)
