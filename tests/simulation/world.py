"""A whole history, from one seed: lives of the process, callers, trouble, and the judgement."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from foreman.actors import inventory, pruner, webhook_dispatcher
from foreman.config.settings import Settings
from foreman.domain.job import TERMINAL, DeliveryState
from foreman.queue.commands import Resume
from foreman.store import integrity
from tests.simulation.app import App
from tests.simulation.callers import Callers
from tests.simulation.receiver import MOODS, PER_RECEIVER, RECEIVERS, TOGETHER, ScriptedReceivers
from tests.simulation.target import MODELS, WAYS, WELL, Bug, ScriptedTarget
from tests.simulation.witness import Book, PowerCut, WatchedStore
from tests.support.same_order import same_order

START = 1_000_000_000.0
HOUR = 3600.0
RUSH = 300.0  # seconds in which much happens at once
NIGHTLY = 4000.0  # seconds from one caller to the next
LIVES = 5  # of the process, in one history
LIMIT = 600.0  # seconds: the starvation limit
BUGS = ("actor failed", "attempt failed by a bug", "cannot tell what is loaded")  # how they are logged
QUIET = 100 * HOUR  # within which all must have ended once nothing is in its way
RARELY = 600.0  # seconds between the rounds of those that would only look


@dataclass(frozen=True, slots=True)
class StaticAnswer:
    """What a history came to."""

    digest: str
    hours: float
    jobs: int
    tally: Counter[str]


class Failed(AssertionError):
    """The history broke a promise."""


def simulate(seed: int, folder: Path, *, several: bool = False) -> StaticAnswer:
    """Play the history of `seed`, with one target or several. Raises Failed with all that was wrong."""
    world = World(seed, folder, several=several)
    with same_each_time(seed), capture_logs(processors=[only_errors]) as errors:
        try:
            trio.run(world.run, clock=MockClock(autojump_threshold=0))
            world.hear(errors)
        except BaseException as error:
            error.add_note(f"play it again: python -m pytest tests/simulation --sim-seed {seed}")
            raise
    return world.told()


def only_errors(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop all but errors from the log."""
    if method not in ("error", "critical", "exception"):
        raise structlog.DropEvent
    return line


@contextmanager
def same_each_time(seed: int) -> Iterator[None]:
    """Have tasks run in the same order, and those that would only look do so rarely."""
    with (
        same_order(seed),
        patch.object(pruner, "ROUND", RARELY),
        patch.object(webhook_dispatcher, "SLEEP_AT_MOST", RARELY),
        patch.object(inventory, "DEGRADED_POLL", 10.0),
    ):
        yield


class World:
    def __init__(self, seed: int, folder: Path, *, several: bool) -> None:
        self.seed = seed
        self.path = folder / "foreman.db"
        self.dice = random.Random(seed)
        self.skew = 0.0
        self.began = 0.0
        slots = self.dice.choice([1, 2, 4])
        self.book = Book(self.time, slots={}, limit=LIMIT)
        self.targets = self._fleet() if several else [self._target("managed", slots)]
        self.receivers = ScriptedReceivers(self.dice, self.book)
        self.callers = Callers(self.dice, self.book, self.receivers, self.clock)
        self.gap = self.dice.choice([600.0, 1200.0, 2400.0])
        self.settings = Settings(
            data_dir=folder,
            slots=slots,
            **self._target_settings(several),
            max_queue=150,
            job_ttl=6 * HOUR,
            starvation_limit=LIMIT,
            attempt_timeout=300,
            first_chunk_timeout=120,
            stall_timeout=90,
            max_answer=10_000,
            poll_interval=300,
            artifact_inline_limit=16_384,
            feed_history=100,
            webhook_concurrency=TOGETHER,
            webhook_per_receiver=PER_RECEIVER,
        )

    def _fleet(self) -> list[ScriptedTarget]:
        """Two or three targets of their own slots, models and room; between them they have all models."""
        dice = self.dice
        count = dice.choice([2, 3])
        models = [set(dice.sample(MODELS, dice.randint(1, len(MODELS)))) for _ in range(count)]
        for model in MODELS:
            dice.choice(models).add(model)
        return [
            self._target(f"t{n}", dice.choice([1, 2, 4]), sorted(some), dice.choice([1, 1, 2]))
            for n, some in enumerate(models)
        ]

    def _target(self, name: str, slots: int, models: Sequence[str] = MODELS, most: int = 1) -> ScriptedTarget:
        target = ScriptedTarget(self.dice, self.book, name=name, models=models, most=most)
        self.book.slots[name], self.book.rooms[name], self.book.models[name] = slots, target.room(), models
        return target

    def _target_settings(self, several: bool) -> dict[str, Any]:
        if not several:
            return {}
        return {
            "targets": [
                {
                    "name": target.name,
                    "ollama_url": f"http://127.0.0.1:{9000 + n}",
                    "slots": self.book.slots[target.name],
                    "max_loaded": target.room().models,
                }
                for n, target in enumerate(self.targets)
            ]
        }

    def time(self) -> float:
        return trio.current_time() - self.began

    def clock(self) -> float:
        now = START + self.time() + self.skew
        self.book.latest = max(self.book.latest, now)
        return now

    def told(self) -> StaticAnswer:
        book = self.book
        return StaticAnswer(book.digest(), self.hours, len(book.jobs) + len(book.gone), book.tally)

    async def run(self) -> None:
        self.began = trio.current_time()
        for _ in range(LIVES):
            await self._live()
        while not (self.book.jobs or self.book.gone):  # all of them were short
            await self._live()
        await self._end_well()
        self.hours = self.time() / HOUR

    async def _live(self) -> None:
        """From a start to a drain or a crash."""
        dice = self.dice
        store = self._open()
        crashes = dice.random() < 0.6
        grace = dice.choice([0.0, 5.0, 30.0, 600.0])
        seconds, gap = dice.choice([(0.5, 1), (RUSH, 4), (HOUR, self.gap), (8 * HOUR, self.gap), (48 * HOUR, NIGHTLY)])
        seconds *= dice.uniform(0.5, 1.5)
        try:
            async with trio.open_nursery() as nursery:
                app = App(store, self.settings, self.targets, self.receivers, self.book, dice, self.clock)
                if dice.random() < 0.1:  # no further than the start
                    nursery.start_soon(self._kill_in, dice.uniform(0, 2), app, nursery)
                await app.start(nursery)
                app.disk.slow = seconds < HOUR / 2 and dice.random() < 0.7
                nursery.start_soon(self.callers.come_and_go, app, gap)
                nursery.start_soon(self._trouble, app)
                nursery.start_soon(self._audit_now_and_then, store)
                await trio.sleep(seconds)
                if crashes and dice.random() < 0.5:
                    store.fuse = dice.choice(["before", "after"])
                    await trio.sleep_forever()
                if crashes and dice.random() < 0.7:
                    app.kill(nursery)
                    await trio.sleep_forever()
                if crashes:
                    nursery.start_soon(self._kill_in, dice.uniform(0, grace), app, nursery)
                await self._drain(app, grace)
                self._check_drained(store)
                nursery.cancel_scope.cancel()
        except* PowerCut:
            self.book.tally["crash"] += 1
        finally:
            store.close()
        self.receivers.restart()
        self._speak_up()

    async def _drain(self, app: App, grace: float) -> None:
        with trio.move_on_after(grace + HOUR) as late:
            await app.drain(grace)
        if late.cancelled_caught:
            self.book.complain(f"a drain with {grace:g} s of grace does not end")

    async def _kill_in(self, seconds: float, app: App, nursery: trio.Nursery) -> None:
        await trio.sleep(seconds)
        app.kill(nursery)

    async def _trouble(self, app: App) -> None:
        """One thing after another goes wrong, and is mended, more or less."""
        dice = self.dice
        troubles = ["away", "mute", "crash", "models", "calm", "disk", "full", "clock", "bug", *["hooks"] * 4]
        if len(self.targets) > 1:
            troubles += ["away", "away", "crash", "hold", "hold"]
        while True:
            await trio.sleep(dice.expovariate(1 / 1800))
            target = dice.choice(self.targets) if len(self.targets) > 1 else self.targets[0]
            match dice.choice(troubles):
                case "away":
                    target.up = False
                    target.crash()
                    await trio.sleep(dice.choice([1, 30, 300, 1800]))
                    target.up = True
                case "mute":
                    target.mute = True
                    await trio.sleep(dice.uniform(1, 120))
                    target.mute = False
                case "crash":
                    target.crash()
                case "models":
                    own = target.models_of_its_own
                    target.models_there = sorted(dice.sample(own, dice.randint(1, len(own))))
                    await trio.sleep(dice.uniform(1, HOUR))
                    target.models_there = list(own)
                case "hold":
                    await app.hold(target.name)
                    await trio.sleep(dice.choice([1, 300, 3600]))
                    await app.release(target.name)
                case "calm":
                    target.ways = WELL if target.ways is WAYS else WAYS
                case "disk":
                    app.disk.slow = not app.disk.slow
                case "full":
                    app.store.full = True
                    await trio.sleep(dice.uniform(1, 300))
                    app.store.full = False
                case "clock":
                    self.book.turn_began = None
                    self.skew += dice.choice([-HOUR, HOUR])
                case "bug":
                    target.bug = True
                case "hooks":
                    self.receivers.moods[dice.choice(RECEIVERS)] = dice.choice(MOODS)

    async def _audit_now_and_then(self, store: WatchedStore) -> None:
        while True:
            await trio.sleep(self.dice.uniform(0, 2 * HOUR))
            self._audit(store)

    def _open(self) -> WatchedStore:
        store = WatchedStore(self.path, self.book)
        self._audit(store)
        self.book.turn, self.book.started = None, []  # a process that starts knows of no turn
        return store

    # The judgement.

    def _audit(self, store: WatchedStore) -> None:
        """The file holds what was committed, no more and no less."""
        book = self.book
        jobs = {job.id: job for job in store.jobs(limit=1_000_000)}
        if jobs.keys() != book.jobs.keys():
            book.complain(f"not both stored and committed: {sorted(jobs.keys() ^ book.jobs.keys())}")
        for job_id in self.callers.acknowledged - jobs.keys() - book.gone.keys():
            book.complain(f"{job_id} was acknowledged and is lost")
        known = book.jobs.keys() | book.gone.keys()
        for group in self.callers.groups:
            if 0 < len(known & set(group)) < len(group):
                book.complain(f"of a group only {sorted(known & set(group))} were stored")
        for job_id, job in jobs.items():
            seen = book.jobs[job_id]
            if (job.state, job.fence, job.key) != (seen.state, seen.fence, seen.draft.key):
                book.complain(f"{job_id} is {job.state} under lease {job.fence}, its commits say {seen}")
            artifacts = store.shapes(job_id)
            if len(artifacts) != (job.state in TERMINAL and seen.answers):
                book.complain(f"{job_id} is {job.state} and has {artifacts}")
        kept = [c for c in book.history if c.job_id in book.jobs]
        stored = store.events(limit=1_000_000)
        if [(c.seq, c.job_id, c.state) for c in stored] != [(c.seq, c.job_id, c.state) for c in kept]:
            book.complain(f"the log has {len(stored)} events, {len(kept)} were committed")
        outbox = {d.seq for job_id in jobs for d in store.deliveries(job_id)}
        posted = {seq for seq, job_id in book.posted.items() if job_id in book.jobs}
        if outbox != posted:
            book.complain(f"not both in the outbox and committed: {sorted(outbox ^ posted)}")
        claimable = [job for job in jobs.values() if job.state == "queued" and job.ready_at is None]
        ready = sum(lane.ready for lane in store.lines())
        if ready != len(claimable):
            book.complain(f"{ready} jobs are counted as ready, {len(claimable)} are")
        for problem in integrity.check(self.path).problems:
            book.complain(problem)

    def _check_drained(self, store: WatchedStore) -> None:
        if self.book.was_full:
            return  # what could not be written is taken back at the next start
        for job in store.running():
            self.book.complain(f"{job.id} is {job.state} after a drain")

    def _check_outbox(self, store: WatchedStore) -> None:
        retries, hooks = self.settings.webhook_retries, self.receivers
        for job_id in self.book.jobs:
            for delivery in store.deliveries(job_id):
                seq, state = delivery.seq, delivery.state
                well = {
                    DeliveryState.DELIVERED: hooks.taken[seq] > 0,
                    DeliveryState.DEAD: self.book.refused[seq] > retries and delivery.attempts == retries + 1,
                    DeliveryState.STOPPED: job_id in hooks.refused,
                    DeliveryState.DUE: False,
                }[state]
                if not well:
                    self.book.complain(
                        f"{delivery} had {self.book.refused[seq]} failures, was taken {hooks.taken[seq]} times"
                    )

    async def _end_well(self) -> None:
        """With nothing in the way, all comes to its end."""
        for target in self.targets:
            target.ways, target.up, target.mute, target.bug = WELL, True, False, False
            target.models_there = list(target.models_of_its_own)
        self.receivers.moods = dict.fromkeys(RECEIVERS, "well")
        store = self._open()
        try:
            async with trio.open_nursery() as nursery:
                app = App(store, self.settings, self.targets, self.receivers, self.book, self.dice, self.clock)
                await app.start(nursery)
                await app.queue.ask(Resume())
                for target in self.targets:
                    await app.release(target.name)
                with trio.move_on_after(QUIET):
                    while self._unfinished(store):  # noqa: ASYNC110, nobody tells when all of it has ended
                        await trio.sleep(60)
                for what in self._unfinished(store):
                    self.book.complain(f"{what} never ends")
                self._check_outbox(store)
                self._audit(store)
                await self._drain(app, 1)
                nursery.cancel_scope.cancel()
        finally:
            store.close()
        self._speak_up()

    def hear(self, errors: Sequence[MutableMapping[str, Any]]) -> None:
        """No error is logged but those that were put there."""
        for line in errors:
            error = line.get("exc_info")
            others = error.split(Bug)[1] if isinstance(error, ExceptionGroup) else None
            if others is not None or line["event"] not in BUGS:
                self.book.complain(f"logged: {line}")
        self._speak_up()

    def _unfinished(self, store: WatchedStore) -> list[str]:
        jobs = [f"{job_id}, {seen.state}" for job_id, seen in self.book.jobs.items() if seen.state not in TERMINAL]
        return jobs + [f"webhooks of {owner}" for owner in store.owners_due()]

    def _speak_up(self) -> None:
        if said := self.book.complaints:
            told = "\n  ".join(said[:10])
            hours = self.time() / HOUR
            raise Failed(f"seed {self.seed}, after {hours:.2f} virtual hours, {len(said)} complaints:\n  {told}")
