"""A campaign: jobs are submitted and run while Foreman is killed, at random moments and at named points.

It goes in rounds. Each has a data folder of its own, is killed some 25 times, and is judged once all has ended. The
targets, which all rounds share, are killed meanwhile, too.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.bench.stored import wait_ended
from tests.bench.wire import ask, connected, get, post
from tests.crash.lives import Lives, lives
from tests.crash.servers import Server, servers
from tests.crash.verdict import StaticAnswer, Verdict, judge
from tests.crash.victim import POINTS
from tests.support.receiver import Receiver, a_receiver

MODELS = ("a", "b", "c")
CLIENTS = 4  # that submit at a time
EVERY = 0.02  # seconds between the chunks of an answer, of which there are four
ROUND = 25  # kills; no job may meet more than 20 of them
JOBS = 3  # for each kill
LIFE = (0.0, 0.5)  # seconds between serving and a kill at a random moment
UNBORN = 0.15  # seconds in which a Foreman starts, more or less
PASSAGES = {"before commit": 6, "after commit": 6, "claimed": 3, "answered": 3, "notified": 6, "migration": 6}
TIMEOUT = 10.0  # seconds until one that did not come to its point is killed where it is
SETTLE = 60.0  # seconds for all to end once nobody kills any more
KEY = b"\r\nIdempotency-Key: "
FAULTS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

Kill = str | None  # a named point, or: at a random moment


@dataclass(slots=True)
class Tally:
    """What the rounds have brought so far."""

    verdict: Verdict = field(default_factory=Verdict)
    kills: Counter[str] = field(default_factory=Counter)  # by point; also "a random moment", "before it served"
    rounds: int = 0
    acknowledged: int = 0
    unanswered: int = 0  # submissions
    away: Counter[str] = field(default_factory=Counter)  # kills of targets, by name

    def __str__(self) -> str:
        return (
            f"{self.kills.total()} kills, {self.away.total()} of targets, {self.rounds} rounds judged: {self.verdict}"
        )

    def report(self) -> str:
        found = self.verdict
        return (
            f"{self.acknowledged} jobs acknowledged; {self.unanswered} submissions without an answer, "
            f"{found.unacknowledged} of them stored; {found.pruned} jobs pruned\n"
            f"{found.interrupted} attempts interrupted, {found.events} events, "
            f"{found.delivered} webhooks arrived, {found.repeated} of them not for the first time\n"
            + "".join(f"  {count:5} kills: {point}\n" for point, count in sorted(self.kills.items()))
            + "".join(
                f"  {found.ran[name]:5} jobs done by target {name}, killed {count} times\n"
                for name, count in sorted(self.away.items())
            )
            + str(self)
            + "".join(f"\n  {line}" for line in found.complaints)
        )


async def campaign(folder: Path, tally: Tally, *, kills: int, seed: int, lanes: int = 1) -> None:
    """Kill so many times in all, in `lanes` rounds at a time; `tally` grows meanwhile."""
    chance = random.Random(seed)
    plans = [_plan(min(ROUND, kills - before), chance) for before in range(0, kills, ROUND)]
    rounds = [(number, plan, random.Random(chance.random())) for number, plan in enumerate(plans)]
    async with servers(chance, tally.away) as targets:

        async def lane() -> None:
            async with lives(folder / "parents.log") as victims:
                while rounds:
                    number, plan, own = rounds.pop(0)
                    with a_receiver() as receiver:
                        await _Round(folder / f"{number}", targets, victims, receiver, own, tally).run(plan)

        async with trio.open_nursery() as nursery:
            for _ in range(lanes):
                nursery.start_soon(lane)


def _plan(kills: int, chance: random.Random) -> list[Kill]:
    """The schema is made but once, at first; and only what has ended can be pruned."""
    named: list[Kill] = [point for point in POINTS if point != "migration"]
    rest = [*named, *(chance.choice([*named, *[None] * len(named)]) for _ in range(kills))][: kills - 1]
    return ["migration", *sorted(rest, key=lambda point: chance.random() + (point == "pruning"))]


class _Round:
    """One data folder, from its first Foreman to its last."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Server],
        victims: Lives,
        receiver: Receiver,
        chance: random.Random,
        tally: Tally,
    ) -> None:
        self._targets = targets
        self._victims = victims
        self._receiver = receiver
        self._chance = chance
        self._tally = tally
        self._told = StaticAnswer()
        self._database = folder / "foreman.db"
        self._settings: dict[str, object] = {
            "addr": "127.0.0.1:0",
            "data_dir": str(folder),
            "log_format": "json",
            "targets": [target.settings for target in targets],
            "poll_interval": "1s",
            "max_attempts": 20,
            "retry_backoff": "50ms",
            "retry_backoff_max": "200ms",
            "webhook_retries": 50,
            "webhook_backoff": "50ms",
            "webhook_backoff_max": "200ms",
            "shutdown_grace": "10s",
        }

    async def run(self, plan: Sequence[Kill]) -> None:
        for number, point in enumerate(plan, start=1):
            if point == "pruning" and not _retire(self._database, self._told):
                await self._peaceful_life(JOBS * number)
                _retire(self._database, self._told)
            found = await self._life(point, due=JOBS * number)
            self._tally.kills[found] += 1
        await self._peaceful_life(JOBS * len(plan))
        tally, told = self._tally, self._told
        tally.verdict += judge(self._database, told, list(self._receiver.got), self._targets)
        tally.rounds += 1
        tally.acknowledged += len(told.acknowledged)
        tally.unanswered += told.unanswered

    async def _life(self, point: Kill, *, due: int) -> str:
        """Start, submit until `due` jobs are acknowledged in all, kill; where it died."""
        victims, chance = self._victims, self._chance
        nth = chance.randint(1, PASSAGES.get(point, 1)) if point else 1
        await victims.begin(self._settings, point=point, nth=nth)
        if point is None and chance.random() < 0.2:
            with trio.move_on_after(chance.uniform(0, UNBORN)):
                await victims.wait_serving()
            await victims.kill()
            where = "before it served"
        else:
            where = "a random moment"
            if await victims.wait_serving():
                async with trio.open_nursery() as nursery:
                    for _ in range(CLIENTS):
                        nursery.start_soon(self._submit, due)
                    with trio.move_on_after(TIMEOUT if point else chance.uniform(*LIFE)):
                        await victims.ended.wait()
                    await victims.kill()
                    nursery.cancel_scope.cancel()
        if victims.code != -9:
            self._tally.verdict.complain("illegal", f"it ended with {victims.code}: {victims.words[-5:]}")
        return victims.died_at or where

    async def _peaceful_life(self, jobs: int) -> None:
        """Start, submit what is missing, let everything end, leave in order."""
        victims, told = self._victims, self._told
        await victims.begin(self._settings)
        if not await victims.wait_serving():
            raise AssertionError(f"it does not start any more: {victims.words[-5:]}")
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(self._submit, jobs)
        with trio.fail_after(SETTLE):
            await wait_ended(self._database)
        for job_id, custom_id in told.acknowledged.items():
            if job_id not in told.retired:
                shown = await ask(victims.port, get(f"/jobs/{job_id}"))
                said = shown["result"]["message"]["content"] if shown["result"] else ""
                if shown["state"] != "done" or not said.startswith(f"{custom_id} "):
                    self._tally.verdict.complain("lost", f"{custom_id}, {job_id}, is shown as {shown}")
        with trio.fail_after(SETTLE):
            await self._settled()
        if code := await victims.stop():
            self._tally.verdict.complain("illegal", f"it left with {code}: {victims.words[-5:]}")

    async def _settled(self) -> None:
        """Until no webhook is due, and what was to be pruned is."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as db:
            question = """SELECT count(*) = 0 FROM jobs WHERE expires_at < 10
                          OR EXISTS (SELECT 1 FROM deliveries WHERE state = 'due')"""
            while not db.execute(question).fetchone()[0]:  # noqa: ASYNC110 - it happens in another process
                await trio.sleep(0.05)

    async def _submit(self, due: int) -> None:
        """One client: submit until `due` are acknowledged; a broken connection ends it.

        What it had asked stays unknown; with an idempotency key it is asked again.
        """
        told, chance = self._told, self._chance
        pause = chance.choice((0, 0.1))  # now in a burst, now spread over the life
        try:
            async with connected(self._victims.port) as connection:
                while told.again or len(told.acknowledged) < due:
                    custom_id, request = told.again.popitem() if told.again else self._draft()
                    answered = False
                    try:
                        with trio.fail_after(30):
                            status, body = await connection.exchange(request)
                        answered = True
                    finally:
                        told.unanswered += not answered
                        if not answered and KEY in request:
                            told.again[custom_id] = request
                    if status == 503 and b'"target_down"' in body:  # no target has said yet which models it has
                        told.again |= {custom_id: request} if KEY in request else {}
                        await trio.sleep(0.05)
                        continue
                    if status != 202:
                        raise AssertionError(f"answered {status}: {body!r}")
                    told.acknowledged[json.loads(body)["job_id"]] = custom_id
                    await trio.sleep(pause and chance.uniform(0, pause))
        except FAULTS:
            pass

    def _draft(self) -> tuple[str, bytes]:
        custom_id = f"job-{len(self._told.tried)}"
        self._told.tried.add(custom_id)
        text = f"{custom_id} says hello #echo #every={EVERY}"
        job = {
            "model": self._chance.choice(MODELS),
            "messages": [{"role": "user", "content": text}],
            "custom_id": custom_id,
            "state_webhook_url": self._receiver.url,
        }
        request = post("/jobs", job)
        if self._chance.random() < 0.5:
            request = request.replace(b"\r\n", KEY + custom_id.encode() + b"\r\n", 1)
        return custom_id, request


def _retire(database: Path, told: StaticAnswer) -> bool:
    """While no Foreman runs: have some jobs that have ended, and of which all is told, be past their time.

    Whether there were any.
    """
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute("""SELECT id FROM jobs WHERE state = 'done' AND NOT EXISTS (
                             SELECT 1 FROM deliveries WHERE job_id = id AND state <> 'delivered') LIMIT 10""")
        ripe = [job_id for (job_id,) in rows]
        for job_id in ripe:
            told.retired[job_id] = dict(db.execute("SELECT seq, state FROM events WHERE job_id = ?", (job_id,)))
            db.execute("UPDATE jobs SET expires_at = 1 WHERE id = ?", (job_id,))
        db.commit()
    return bool(ripe)
