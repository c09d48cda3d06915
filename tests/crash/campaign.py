"""One campaign: jobs are submitted and run while Foreman is killed at random moments and started again."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.bench.daemon import Daemon, child
from tests.bench.stored import wait_ended
from tests.bench.wire import ask, connected, get, post
from tests.crash.verdict import Verdict, judge

MODELS = ("a", "b", "c")
SLOTS = 4
CLIENTS = 4  # that submit at a time
LIFE = (0.05, 1.2)  # seconds between serving and SIGKILL
UNBORN = 0.15  # share of the kills that come before Foreman serves
CHUNKS = 4  # of one answer
FAULTS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


@dataclass(slots=True)
class Told:
    """What the submitting side knows: the truth that the database is held against."""

    tried: set[str] = field(default_factory=set)  # custom ids, answered or not
    acknowledged: dict[str, str] = field(default_factory=dict)  # job id to custom id, for each 202


@dataclass(frozen=True, slots=True)
class Report:
    verdict: Verdict
    told: Told
    kills: int
    unborn: int  # kills before Foreman served
    seconds: float

    def __str__(self) -> str:
        told, found = self.told, self.verdict
        return (
            f"{len(told.acknowledged)} jobs acknowledged, {len(told.tried) - len(told.acknowledged)} "
            f"submissions without an answer ({found.unacknowledged} of them stored)\n"
            f"{self.kills} kills ({self.unborn} before it served), {found.interrupted} attempts interrupted, "
            f"{found.events} events, {self.seconds:.0f} s\n"
            f"lost {found.lost}, doubled {found.doubled}, illegal {found.illegal}"
            + "".join(f"\n  {line}" for line in found.complaints)
        )


async def campaign(folder: Path, *, jobs: int, kills: int, seed: int, seconds: float) -> Report:
    """Run it in `folder`. Raises trio.TooSlowError when it has not ended after `seconds`."""
    chance = random.Random(seed)
    began = time.monotonic()
    told = Told()
    unborn = 0
    # Paced so that work is there for every kill: a fair share of jobs is submitted, and run, in each life.
    every = SLOTS * (sum(LIFE) / 2) * kills / jobs / CHUNKS * 0.8
    async with child("tests.upstream", "--kind", "ollama", "--models", ",".join(MODELS)) as upstream:
        daemon = Daemon(
            folder / "data",
            ollama_url=f"http://127.0.0.1:{upstream['port']}",
            slots=SLOTS,
            max_attempts=20,
            retry_backoff="50ms",
            retry_backoff_max="200ms",
            shutdown_grace="10s",
        )
        try:
            with trio.fail_after(seconds):
                for life in range(kills):
                    due = min(jobs, jobs * (life + 1) * 4 // (kills * 3))
                    unborn += not await _life(daemon, told, chance, due=due, every=every)
                await _last_life(daemon, told, chance, jobs=jobs, every=every)
        finally:
            await daemon.kill()
    verdict = judge(daemon.database, told.tried, told.acknowledged)
    return Report(verdict, told, kills, unborn, time.monotonic() - began)


async def _life(daemon: Daemon, told: Told, chance: random.Random, *, due: int, every: float) -> bool:
    """Start, submit until `due` jobs are acknowledged in all, kill; whether it got as far as serving."""
    await daemon.spawn()
    if chance.random() < UNBORN:
        with trio.move_on_after(chance.uniform(0, 1)):
            await daemon.wait_serving()
        await daemon.kill()
        return False
    await daemon.wait_serving()
    async with _submitting(daemon, told, chance, due=due, every=every):
        await trio.sleep(chance.uniform(*LIFE))
        await daemon.kill()
    return True


async def _last_life(daemon: Daemon, told: Told, chance: random.Random, *, jobs: int, every: float) -> None:
    """Start, submit what is missing, let everything end, leave in order."""
    await daemon.start()
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(_submit, daemon.port, told, chance, jobs, every)
    await wait_ended(daemon.database)
    for job_id, custom_id in told.acknowledged.items():
        shown = await ask(daemon.port, get(f"/jobs/{job_id}"))
        said = shown["result"]["message"]["content"] if shown["result"] else ""
        if shown["state"] != "done" or not said.startswith(f"{custom_id} "):
            raise AssertionError(f"{custom_id}, {job_id}, is shown as {shown}")
    code = await daemon.stop()
    if code:
        raise AssertionError(f"exit code {code}: {daemon.words()[-2000:]}")


@asynccontextmanager
async def _submitting(
    daemon: Daemon, told: Told, chance: random.Random, *, due: int, every: float
) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(_submit, daemon.port, told, chance, due, every)
        yield
        nursery.cancel_scope.cancel()


async def _submit(port: int, told: Told, chance: random.Random, due: int, every: float) -> None:
    """One client: submit until `due` are acknowledged; a broken connection ends it, what it had asked stays unknown."""
    # Now in a burst, now spread over the life.
    pause = chance.choice((0, CLIENTS * (sum(LIFE) / 2) / max(1, due - len(told.acknowledged))))
    try:
        async with connected(port) as connection:
            while len(told.acknowledged) < due:
                custom_id = f"job-{len(told.tried)}"
                told.tried.add(custom_id)
                text = f"{custom_id} says hello #echo #every={every:.4f}"
                job = {"model": chance.choice(MODELS), "messages": [{"role": "user", "content": text}]}
                with trio.fail_after(30):
                    status, body = await connection.exchange(post("/jobs", job | {"custom_id": custom_id}))
                if status != 202:
                    raise AssertionError(f"answered {status}: {body!r}")
                told.acknowledged[json.loads(body)["job_id"]] = custom_id
                await trio.sleep(pause and chance.uniform(0, 2 * pause))
    except FAULTS:
        pass
