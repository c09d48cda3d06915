"""Callers who ask for anything at any time, and remember what they were answered."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from foreman.domain.errors import (
    DeliveryNotFound,
    Draining,
    IdempotencyMismatch,
    IllegalTransition,
    JobNotFound,
    QueueFull,
    StoreUnavailable,
)
from foreman.domain.job import RUNNING, Draft, Instant, Job, Priority, State
from foreman.queue.commands import Cancel, Delete, Pause, Redeliver, Resume, Retry, Submit, SubmitMany
from tests.simulation.app import App
from tests.simulation.receiver import RECEIVERS, ScriptedReceivers
from tests.simulation.target import MODELS
from tests.simulation.witness import Book

NEVER_THERE = "z"
KEYS = 12  # idempotency keys


class Callers:
    """Outlive the process, as callers do."""

    def __init__(
        self,
        dice: random.Random,
        book: Book,
        receivers: ScriptedReceivers,
        clock: Callable[[], Instant],
        *,
        far: float = 7200.0,
    ) -> None:
        """Jobs are to start up to `far` seconds later."""
        self._far = far
        self._dice = dice
        self._book = book
        self._receivers = receivers
        self._clock = clock
        self._made = 0
        self._by_key: dict[str, list[str]] = {}  # every id that a key was tried with
        self.acknowledged: set[str] = set()
        self.groups: list[list[str]] = []  # stored together or not at all

    async def come_and_go(self, app: App, gap: float) -> None:
        """Ask something every `gap` seconds or so, without waiting for the answers."""
        async with trio.open_nursery() as nursery:
            await self._come(gap, lambda: (app, nursery))

    async def _come(self, gap: float, whom: Callable[[], tuple[App, trio.Nursery] | None]) -> None:
        asks: dict[Callable[[App], Awaitable[None]], int] = {
            self.submit: 30,
            self.submit_again: 8,
            self.submit_many: 4,
            self.crowd: 1,
            self.cancel: 12,
            self.leave: 8,
            self.cancel_and_retry: 10,
            self.retry: 10,
            self.delete: 6,
            self.redeliver: 6,
            self.pause: 1,
            self.resume: 3,
            self.look: 6,
        }
        while True:
            await trio.sleep(self._dice.expovariate(1 / gap))
            for ask in self._dice.choices(list(asks), list(asks.values()), k=self._dice.choice([1, 1, 2, 10])):
                if (found := whom()) is not None:
                    app, nursery = found
                    nursery.start_soon(self._ask, ask, app)

    async def _ask(self, ask: Callable[[App], Awaitable[None]], app: App) -> None:
        try:
            await ask(app)
        except (IllegalTransition, JobNotFound, DeliveryNotFound, QueueFull, StoreUnavailable, Draining) as error:
            self._book.tally[error.code] += 1

    async def submit(self, app: App, draft: Draft | None = None) -> None:
        draft = draft or self._draft()
        accepted = await app.queue.ask(Submit(draft=draft))
        self._accepted(accepted.job.id)
        if accepted.job.id != draft.id:
            self._book.complain(f"{draft.id} was accepted as {accepted.job.id}")

    async def submit_again(self, app: App) -> None:
        key = f"key {self._dice.randrange(KEYS)}"
        body = self._dice.choice([b"one", b"one", b"one", b"other"])
        draft = self._draft(idempotency_key=key, fingerprints=(body,))
        tried = self._by_key.setdefault(key, [])
        tried.append(draft.id)
        known = [job_id for job_id in tried if job_id in self._book.jobs]
        try:
            accepted = await app.queue.ask(Submit(draft=draft))
        except IdempotencyMismatch:
            others = [*self._book.jobs.values(), *self._book.gone.values()]
            if all(seen.draft.fingerprints == (body,) for seen in others if seen.draft.idempotency_key == key):
                self._book.complain(f"{key} is refused, and fits")
            return
        self._accepted(accepted.job.id)
        still = [job_id for job_id in known if job_id in self._book.jobs]
        if accepted.job.id not in tried or (still and accepted.job.id not in still):
            self._book.complain(f"{key} is {accepted.job.id} and was {still}")

    async def submit_many(self, app: App) -> None:
        drafts = [self._draft() for _ in range(self._dice.randint(2, 25))]
        self.groups.append([draft.id for draft in drafts])
        await app.queue.ask(SubmitMany(drafts=drafts))
        for draft in drafts:
            self._accepted(draft.id)

    async def crowd(self, app: App) -> None:
        """Much urgent work for one model, which is not to starve the others."""
        model = self._dice.choice(MODELS)
        for _ in range(self._dice.randint(10, 60)):
            await self.submit(app, self._draft(model=model, priority=Priority.HIGH, not_before=None))
            await trio.sleep(self._dice.uniform(0, self._far / 120))

    async def cancel(self, app: App) -> None:
        job_id = self._some()
        self._cancelled(await app.queue.ask(Cancel(job_id=job_id)))

    async def leave(self, app: App) -> None:
        """Submit, and think better of it."""
        draft = self._draft(not_before=None, start_by=None)
        await app.queue.tell(Submit(draft=draft))
        await trio.sleep(self._dice.choice([0, 0.001, 0.02, 0.1, 0.5]))
        self._cancelled(await app.queue.ask(Cancel(job_id=draft.id)))

    async def cancel_and_retry(self, app: App) -> None:
        """Both at once, so that they may end up in one transaction."""
        running = [job_id for job_id, seen in self._book.jobs.items() if seen.state in RUNNING]
        job_id = self._dice.choice(running or [self._some()])
        await app.queue.tell(Cancel(job_id=job_id))
        if self._dice.random() < 0.3:
            await trio.sleep(self._dice.choice([0, 0.01, 1]))
        await app.queue.ask(Retry(job_id=job_id))

    async def retry(self, app: App) -> None:
        await app.queue.ask(Retry(job_id=self._some()))

    async def delete(self, app: App) -> None:
        job_id = self._some()
        self._book.asked_to_delete.add(job_id)
        await app.queue.ask(Delete(job_id=job_id))
        if job_id in self._book.jobs:
            self._book.complain(f"{job_id} is there after it was deleted")

    async def redeliver(self, app: App) -> None:
        if not self._book.posted:
            return
        on_its_way = self._receivers.on_their_way()
        seq = self._dice.choice(on_its_way if on_its_way and self._dice.random() < 0.7 else list(self._book.posted))
        await app.queue.ask(Redeliver(job_id=self._book.posted[seq], seq=seq))

    async def pause(self, app: App) -> None:
        await app.queue.ask(Pause())

    async def resume(self, app: App) -> None:
        await app.queue.ask(Resume())

    async def look(self, app: App) -> None:
        """Where a job stands must be known at any time."""
        job_id = self._some()
        job = await app.readers.read(lambda store: store.job(job_id))
        if job is None:
            return
        expected = await app.readers.read(lambda store: app.outlook.of(store, job, self._clock()))
        waits = job.state is State.QUEUED and job.ready_at is None and not app.outlook.rests(job.key)
        at, seconds = expected.position, expected.seconds
        if waits is not (at is not None and at >= 1) or (seconds is not None and (at is None or seconds < 0)):
            self._book.complain(f"{job_id}, {job.state}, is at {at}, and ready in {seconds}")

    def _accepted(self, job_id: str) -> None:
        self.acknowledged.add(job_id)
        if job_id not in self._book.jobs and job_id not in self._book.gone:
            self._book.complain(f"{job_id} was acknowledged before it was stored")

    def _cancelled(self, job: Job) -> None:
        if job.state is not State.CANCELLED:
            self._book.complain(f"{job} was answered to a cancel")

    def _some(self) -> str:
        """A job; more often one that runs, or that came lately."""
        jobs = self._book.jobs
        running = [job_id for job_id, seen in jobs.items() if seen.state in RUNNING]
        if running and self._dice.random() < 0.3:
            return self._dice.choice(running)
        known = list(jobs)[-30:] if self._dice.random() < 0.6 else list(jobs)
        return self._dice.choice(known or ["nobody"])

    def _draft(self, **given: object) -> Draft:
        dice, now = self._dice, self._clock()
        self._made += 1
        name = f"{self._made:06}"
        model = dice.choice(MODELS) if dice.random() < 0.98 else NEVER_THERE
        fields: dict[str, object] = {
            "id": name,
            "model": model,
            "endpoint": "/api/chat",
            "payload": name.encode(),
            "priority": dice.choice([Priority.HIGH, Priority.NORMAL, Priority.NORMAL, Priority.LOW]),
            "max_attempts": dice.choice([1, 2, 3, 3, 10]),
            "not_before": now + dice.choice([-5, 1, 60, self._far]) if dice.random() < 0.2 else None,
            "start_by": now + dice.choice([0.5, 60, 3600]) if dice.random() < 0.15 else None,
            "timeout": dice.choice([5.0, 200.0]) if dice.random() < 0.2 else None,
            "custom_id": f"custom {name}",
            "owner": "" if "idempotency_key" in given else dice.choice(["", "", "alice", "bob"]),
            "caller": dice.choice(["", "ann", "ben"]),
            "prefix": dice.choice([b"", b"aaaa", b"aaaabbbb", b"cccc"]),
        }
        if dice.random() < 0.25:
            fields["webhook_url"] = f"{dice.choice(RECEIVERS)}/hook"
            if dice.random() < 0.5:
                fields["webhook_events"] = tuple(dice.sample(list(State), dice.randint(1, 4)))
        fields |= given
        fields["key"] = f"{fields['model']} {{}}" if dice.random() < 0.1 else fields["model"]
        return Draft(**fields)  # type: ignore[arg-type]
