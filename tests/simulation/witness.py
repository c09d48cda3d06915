"""The witness: a store that writes down what it commits, and says at once what may not be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from foreman.domain.errors import StoreFull
from foreman.domain.job import (
    RUNNING,
    TERMINAL,
    TRANSITIONS,
    Artifact,
    Delivery,
    DeliveryState,
    Draft,
    Instant,
    Job,
    JobEvent,
    State,
    model_of,
    queued,
)
from foreman.domain.scheduling.breaker import FREE as FREE_FOR
from foreman.domain.scheduling.breaker import Breakers
from foreman.domain.scheduling.choose import Standing
from foreman.domain.scheduling.room import Room
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.store.records import NO_ARTIFACTS, PAUSED
from foreman.store.sqlite.reads import SqliteReader
from foreman.store.sqlite.writer import SqliteWriter

# What ends an attempt and does not count it.
FREE = {"drained", "target_drained", "preempted", "target_busy", "target_unavailable"}
HOPELESS = {"target_refused", "answer_too_large", "internal_error"}  # what fails a job at once
SLACK = 10.0  # seconds that a slow disk may take between a decision and who hears of it


class PowerCut(BaseException):
    """The process is gone, in the middle of whatever it did."""


@dataclass(slots=True)
class Seen:
    """A job as its commits tell it."""

    draft: Draft
    state: State = State.QUEUED
    spent: int = 0
    fence: int = 0
    since: Instant = 0
    ready_at: Instant | None = None
    start_by: Instant | None = None
    expires_at: Instant | None = None
    changed_at: float = 0  # by the clock that nobody sets
    answers: int = 0  # stored
    stopped: bool = False  # by a 410
    target: str = ""  # of its last attempt


@dataclass
class Book:
    """All that was ever committed, over every life of the process, and every complaint."""

    time: Callable[[], float]  # that nobody sets
    slots: dict[str, int]  # by target
    limit: float  # the starvation limit, seconds
    rooms: dict[str, Room] = field(default_factory=dict)  # by target
    models: dict[str, Sequence[str]] = field(default_factory=dict)  # that a target may have at any time
    jobs: dict[str, Seen] = field(default_factory=dict)
    gone: dict[str, Seen] = field(default_factory=dict)
    asked_to_delete: set[str] = field(default_factory=set)
    history: list[JobEvent] = field(default_factory=list)
    posted: dict[int, str] = field(default_factory=dict)  # seq to job
    said: dict[str, str] = field(default_factory=dict)  # what the target said last, by job
    said_under: dict[str, int] = field(default_factory=dict)  # the lease of that call
    refused: Counter[int] = field(default_factory=Counter)  # posts that failed since they were made due, by seq
    complaints: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    latest: Instant = 0  # that any clock has shown
    turn: str | None = None  # the key that runs
    turn_began: Instant | None = None  # None: before a clock was set
    started: list[int] = field(default_factory=list)  # the classes of the last two jobs
    was_full: bool = False
    excused: Callable[[str, float], bool] = lambda target, since: False  # from having heard of a change since then

    def complain(self, words: str) -> None:
        self.complaints.append(words)

    def digest(self) -> str:
        lines = (f"{c.seq} {c.job_id} {c.state} {c.previous} {c.at!r} {c.attempt} {c.error}" for c in self.history)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def running(self) -> list[Seen]:
        return [seen for seen in self.jobs.values() if seen.state in RUNNING]

    # What a commit holds, in its order.

    def added(self, drafts: Sequence[Draft], jobs: Sequence[Job]) -> None:
        for draft, job in zip(drafts, jobs, strict=True):
            if draft.id in self.jobs or draft.id in self.gone:
                self.complain(f"{draft.id} was added twice")
            since = max(job.created_at, draft.not_before or 0)
            self.jobs[draft.id] = Seen(draft, since=since, ready_at=draft.not_before, start_by=draft.start_by)

    def logged(self, events: Sequence[JobEvent]) -> None:
        for event in events:
            self._log(event)

    def put(self, job: Job, previous: State, kept: Sequence[Artifact], *, tried: bool = False) -> None:
        """`tried`: it was the one that a failing model was tried with, which costs it nothing."""
        seen = self.jobs[job.id]
        if previous is not seen.state:
            self.complain(f"{job.id} goes from {previous} to {job.state}, and was {seen.state}")
        if job.state in RUNNING and previous is State.QUEUED:
            self._claimed(seen, job)
        elif job.state is State.QUEUED:
            self._queued(seen, job, previous, tried)
        elif job.state is State.DONE:
            self._done(seen, job, kept)
        elif job.state is State.FAILED:
            self._failed(seen, job)
        elif job.state is State.EXPIRED and (seen.start_by is None or self.latest < seen.start_by):
            self.complain(f"{job.id} expired before its time")
        if kept and job.state is not State.DONE:
            self.complain(f"{job.id} is {job.state} and has an answer")
        if (job.expires_at is not None) != (job.state in TERMINAL):
            self.complain(f"{job.id} is {job.state} and is to be pruned at {job.expires_at}")
        seen.since, seen.ready_at, seen.start_by = job.since, job.ready_at, job.start_by
        seen.expires_at = job.expires_at

    def removed(self, job_id: str, *, pruning: bool, now: Instant) -> None:
        seen = self.jobs.pop(job_id)
        self.gone[job_id] = seen
        if seen.state not in TERMINAL:
            self.complain(f"{job_id} was removed while {seen.state}")
        if pruning and (seen.expires_at is None or seen.expires_at > now):
            self.complain(f"{job_id} was pruned before its time")
        if not pruning and job_id not in self.asked_to_delete:
            self.complain(f"{job_id} was deleted, and nobody asked for it")
        self.tally["pruned" if pruning else "deleted"] += 1

    def _log(self, event: JobEvent) -> None:
        if event.seq != len(self.history) + 1:
            self.complain(f"event {event.seq} follows event {len(self.history)}")
        seen = self.jobs[event.job_id]
        first = event.previous is None
        if event.state not in TRANSITIONS[event.previous] if event.previous else event.state is not State.QUEUED:
            self.complain(f"{event.job_id} went from {event.previous} to {event.state}")
        if not first and event.previous is not seen.state:
            self.complain(f"event {event.seq} says {event.previous}, and {event.job_id} was {seen.state}")
        draft = seen.draft
        wanted = draft.webhook_url is not None and not seen.stopped
        wanted = wanted and (draft.webhook_events is None or event.state in draft.webhook_events)
        if event.posted is not wanted:
            self.complain(f"event {event.seq} of {draft.id} has a webhook: {event.posted}, wanted: {wanted}")
        if event.posted:
            self.posted[event.seq] = event.job_id
        seen.state, seen.changed_at = event.state, self.time()
        self.history.append(event)
        self.tally[event.state] += 1

    def _claimed(self, seen: Seen, job: Job) -> None:
        seen.fence += 1
        if job.fence != seen.fence:
            self.complain(f"{job.id} has lease {job.fence} after {seen.fence - 1}")
        if job.attempt != seen.spent + 1 or job.attempt > job.max_attempts:
            self.complain(f"{job.id} is claimed as {job.attempt} of {job.max_attempts}, {seen.spent} were spent")
        seen.target = target = job.target or ""
        others = [other for other in self.running() if other is not seen and other.target == target]
        if len(others) >= self.slots[target]:
            self.complain(f"{job.id} is claimed while {len(others)} run in {self.slots[target]} slots of {target}")
        keys = {other.draft.key for other in others}
        if not self.rooms[target].fits({*keys, job.key}):
            self.complain(f"{job.id} of {job.key} is claimed while {keys} runs on {target}")
        self.tally[f"claimed by {target}"] += 1
        if seen.ready_at is not None and seen.ready_at > self.latest:
            self.complain(f"{job.id} is claimed {seen.ready_at - self.latest:g} s before its time")

    def _queued(self, seen: Seen, job: Job, previous: State, tried: bool) -> None:
        if previous in TERMINAL:
            seen.spent, seen.answers = 0, 0
        elif job.error_code not in FREE and not tried:
            seen.spent += 1
            if seen.spent >= job.max_attempts:
                self.complain(f"{job.id} is tried again after {seen.spent} of {job.max_attempts} attempts")
        if job.attempt != seen.spent:
            self.complain(f"{job.id} has {job.attempt} attempts, {seen.spent} were spent ({job.error_code})")
        self.tally[str(job.error_code)] += 1

    def _done(self, seen: Seen, job: Job, kept: Sequence[Artifact]) -> None:
        seen.answers += len(kept)
        texts = [msgspec.json.decode(artifact.data)["message"]["content"] for artifact in kept]
        if self.said_under.get(job.id) != job.fence:
            self.complain(f"{job.id} is done under lease {job.fence} with an answer of an earlier one")
        if seen.answers != 1 or texts != [self.said.get(job.id)]:
            self.complain(f"{job.id} is done with {texts}, its target said {self.said.get(job.id)!r}")

    def _failed(self, seen: Seen, job: Job) -> None:
        seen.spent += 1
        if job.attempt != seen.spent:
            self.complain(f"{job.id} failed in attempt {job.attempt}, {seen.spent} were spent")
        if job.error_code not in HOPELESS and (job.attempt < job.max_attempts or job.error_code in FREE):
            self.complain(f"{job.id} gave up in {job.attempt} of {job.max_attempts}: {job.error_code}")

    def fairness(
        self, job: Job, now: Instant, oldest: Iterable[tuple[str, int, Instant]], *, standing: Standing
    ) -> None:
        """`job` is claimed while the oldest claimable job of each key and class waits since then.

        A job goes before a higher class only where its own class has waited longer than the limit, and no more than two
        do so in a row. In a class a younger job of another key goes first only within the turn of a key. That lasts no
        longer than the limit, and begins with the oldest job of those keys whose turn has not just ended.

        All this holds except while changing the key would cost too much: the turn has not worked for as long as it
        loaded, or there were too many changes for a higher class. And nothing holds for lanes whose jobs wait until a
        running one has computed how their prompts begin.
        """
        waiting = list(oldest)
        turn = standing.turn(job.key)
        if standing.moves.bars(now) or (turn is not None and turn.goes_on(now)):
            self.tally["goes on because of what a load costs"] += 1
            if job.key == self.turn or (turn is not None and turn.priority < job.priority):  # it did not begin the turn
                self.started = [*self.started, int(job.priority)][-2:]
                return
        highest = min((priority for _, priority, _ in waiting), default=job.priority)
        if job.priority > highest:
            since = min([job.since, *(since for _, priority, since in waiting if priority == job.priority)])
            self.tally["went before a higher class"] += 1
            if now - since <= self.limit:
                self.complain(f"{job.id} of class {job.priority} goes before class {highest} after {now - since:g} s")
            if len(self.started) == 2 and min(self.started) > highest:
                self.complain(f"{job.id} is the third in a row that goes before class {highest}")
        self.started = [*self.started, int(job.priority)][-2:]
        begins, had_its_turn = job.key != self.turn, self.turn
        lasted = now - self.turn_began if self.turn_began is not None else None
        if begins:
            self.turn, self.turn_began = job.key, now
        own = min(
            [job.since, *(since for key, priority, since in waiting if (key, priority) == (job.key, job.priority))]
        )
        for key, priority, since in waiting:  # callers and prompts order a lane; lanes go by their oldest jobs
            starves = key != job.key and priority == job.priority and since < own
            if begins:
                starves = starves and (key != had_its_turn or (lasted is not None and lasted < self.limit - SLACK))
            else:
                starves = starves and lasted is not None and lasted >= self.limit + SLACK
            if starves:
                self.complain(f"{job.id} of {job.key} overtakes {key}, which waits for {now - since:g} s")


class WatchedStore(SqliteWriter):
    """The real store; can lose power before or after a commit, and run out of room."""

    def __init__(self, path: Path, book: Book) -> None:
        super().__init__(path)
        self._db.execute("PRAGMA synchronous = OFF")  # a simulated crash leaves the system's caches alone
        self.book = book
        self.fuse: Literal["before", "after"] | None = None  # when the next commit that writes loses power
        self.full = False
        self.rests: Callable[[str], bool] = lambda _: False  # whether a key is not to be claimed now
        self.breakers: Callable[[str], Breakers] = lambda _: {}  # of a target
        self.serving: Callable[[str], Collection[str]] = (
            lambda _: ()
        )  # names of targets that have a key, at work or not
        self.clock: Callable[[], Instant] = lambda: 0.0
        self.state: Callable[[], SchedulerState] = SchedulerState  # of the only target
        self._noted: list[Callable[[], None]] = []
        self._puts: list[tuple[Job, State, Sequence[Artifact], bool]] = []  # whose events are to come
        self._readers: list[SqliteReader] = []

    def reader(self) -> SqliteReader:
        self._readers.append(super().reader())
        return self._readers[-1]

    def close(self) -> None:
        for reader in self._readers:
            reader._db.close()
        super().close()

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        self._noted, self._puts = [], []
        fuse = self.fuse
        try:
            with super().transaction(now):
                yield now
                if self._noted and self.full:
                    raise StoreFull
                if self._noted and fuse == "before":
                    raise PowerCut
        except StoreFull:
            self.book.was_full = True
            raise
        for write_down in self._noted:
            write_down()
        if self._noted:
            self.book.was_full = False
            if fuse == "after":
                raise PowerCut

    def add(self, drafts: Sequence[Draft], jobs: Sequence[Job]) -> None:
        super().add(drafts, jobs)
        new = [queued(draft, job.created_at) for draft, job in zip(drafts, jobs, strict=True)]
        self._noted.append(lambda: self.book.added(drafts, new))
        for job in jobs:
            if job.state is not State.QUEUED:  # it was claimed or cancelled in the same transaction
                self._changed(job, State.QUEUED, ())

    def put(self, jobs: Sequence[Job], artifacts: Mapping[str, Sequence[Artifact]] = NO_ARTIFACTS) -> None:
        for number, job in enumerate(jobs):
            before = self.job(job.id)
            assert before is not None
            last = all(later.id != job.id for later in jobs[number + 1 :])
            kept = artifacts.get(job.id, ()) if last else ()
            super().put([job], {job.id: kept})
            self._changed(job, before.state, kept)

    def _changed(self, job: Job, previous: State, kept: Sequence[Artifact]) -> None:
        if previous is job.state:  # its webhooks are stopped
            self._noted.append(lambda: self._stopped(job.id))
            return
        now = self.clock()
        if job.state in RUNNING and previous is State.QUEUED:
            self._watch_claim(job, now)
        self._puts.append((job, previous, kept, self._was_tried(job, now)))

    def log(self, events: Sequence[JobEvent]) -> None:
        super().log(events)
        for event in events:
            self._note_event(event)

    def _note_event(self, event: JobEvent) -> None:
        """Note an event, after the change of the job's row that it begins with."""
        put = next((put for put in self._puts if (put[0].id, put[1]) == (event.job_id, event.previous)), None)
        if put is not None:
            self._puts.remove(put)
            job, previous, kept, tried = put
            self._noted.append(lambda: self.book.put(job, previous, kept, tried=tried))
        self._noted.append(lambda: self.book.logged([event]))

    def delete(self, job_ids: Sequence[str]) -> None:
        super().delete(job_ids)
        self._noted.append(lambda: self._removed(job_ids, pruning=False))

    def prune(self, now: Instant, limit: int) -> list[str]:
        removed = super().prune(now, limit)
        if removed:
            self._noted.append(lambda: self._removed(removed, pruning=True))
        return removed

    def _removed(self, job_ids: Sequence[str], *, pruning: bool) -> None:
        for job_id in job_ids:
            self.book.removed(job_id, pruning=pruning, now=self.book.latest)

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        super().put_deliveries(deliveries)
        self._noted.append(lambda: self._delivered(deliveries))

    def _delivered(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.state is DeliveryState.DUE and not delivery.attempts:
                self.book.refused[delivery.seq] = 0

    def _stopped(self, job_id: str) -> None:
        if seen := self.book.jobs.get(job_id):
            seen.stopped = True

    def set_note(self, name: str, value: str) -> None:
        super().set_note(name, value)
        self._noted.append(lambda: None)

    def _was_tried(self, job: Job, now: Instant) -> bool:
        """Return whether what became of this job began another pause of its model, not the first one."""
        breaker = self.breakers(job.target or "").get(model_of(job.key))
        if breaker is None or breaker.opened_at is None or not 0 <= now - breaker.opened_at < FREE_FOR:
            return False
        return breaker.pauses > 1 and breaker.paused_at == now

    def _watch_claim(self, job: Job, now: Instant) -> None:
        if self.note(PAUSED) == "true":
            self.book.complain(f"{job.id} is claimed while the queue is paused")
        late = job.start_by is not None and job.start_by <= now
        # What came in the same transaction is not looked at again, and who was tried before did start in time.
        if late and job.attempt == 1 and job.id in self.book.jobs and not self.book.was_full:
            self.book.complain(f"{job.id} is claimed after its start_by")
        serving = self.serving(job.key)
        if serving and job.target not in serving:
            self.book.complain(f"{job.id} of {job.key} is claimed by {job.target}, {serving} have its model")
        if serving and model_of(job.key) not in self.book.models[job.target or ""]:
            self.book.complain(f"{job.id} of {job.key} is claimed by {job.target}, which never has its model")
        if len(self.book.slots) > 1:
            return  # the order of one target among several depends on what it leaves to the others
        sql = """SELECT drain_key, priority, min(since) FROM jobs
                 WHERE state = 'queued' AND ready_at IS NULL AND id <> ? GROUP BY 1, 2"""
        state, own = self.state(), (job.key, job.priority)  # which rests from now on if the job tries a failing model
        waiting = [
            (key, priority, since)
            for key, priority, since in self._sql.rows(sql, (job.id,))
            if (key, priority) == own or (not self.rests(key) and self._may_start(key, priority))
        ]
        self._noted.append(lambda: self.book.fairness(job, now, waiting, standing=state.standing))

    def _may_start(self, key: str, priority: int) -> bool:
        """Return whether any job of a lane need not wait until a running one has computed how its prompt begins."""
        sql = "SELECT id FROM jobs WHERE state = 'queued' AND ready_at IS NULL AND (drain_key, priority) = (?, ?)"
        jobs = (self.job(job_id) for (job_id,) in self._sql.rows(sql, (key, priority)))
        return any(job is not None and not self.state().prompts.must_wait(job) for job in jobs)
