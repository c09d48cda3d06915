"""Handlers and store against a plain model of them, in any order of commands."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from foreman.domain.errors import (
    ForemanError,
    IllegalTransition,
    Interrupted,
    JobNotFound,
    TargetBusy,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.domain.job import RUNNING, TERMINAL, TRANSITIONS, Artifact, Priority, State
from foreman.domain.retry import Again, Backoff, after
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.choose import Head, Spent
from foreman.domain.usage import DAY, HOUR
from foreman.queue.commands import (
    Answered,
    Began,
    Cancel,
    Claim,
    Delete,
    Finished,
    Message,
    Pause,
    Prune,
    Rescue,
    Resume,
    Retry,
    Submit,
    SubmitMany,
    Withdraw,
    Work,
)
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store import integrity
from foreman.store.protocol import Engine
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import draft
from tests.support.postgres import ORIGINS, ClockedWriter, Server, Servers
from tests.support.sites import only_site

RULES = JobRules(job_ttl=300, backoff=Backoff(2, 300))
ORDER = choose.OrderRules(limit=60, share=0.1, slots=2)
ERRORS = [
    TargetLost("t", "it hung up"),
    TargetUnavailable("t", "refused"),
    TargetBusy("t", 7.0),
    TargetRefused(400, "no such thing"),
]
KEYS = ["a", "b", "c"]
EXAMPLES = (settings.default or settings()).max_examples // 5  # on each PostgreSQL


@dataclass
class Known:
    """A job as the model has it."""

    id: str
    key: str
    priority: int
    max_attempts: int
    since: float
    ready_at: float | None
    start_by: float | None
    state: State = State.QUEUED
    attempt: int = 0
    fence: int = 0
    expires_at: float | None = None
    states: list[State] = field(default_factory=lambda: [State.QUEUED])
    claimed_at: float | None = None  # while it runs, by the process that knows it
    started: bool = False


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "foreman.db"
        self.now = 1_000_000.0
        self.jobs: dict[str, Known] = {}
        self.made = 0
        self.counted: Counter[str] = Counter()
        self.busy = 0.0
        self.paused = False
        self._open()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            problems = self.problems()
            self.folder.cleanup()
            assert problems == []

    def opened(self) -> Engine:
        return SqliteWriter(self.path)

    def problems(self) -> list[str]:
        return integrity.check(self.path).problems

    def _open(self) -> None:
        self.store = self.opened()
        self.handlers = CommandHandlers(self.store, RULES, only_site(ORDER), clock=lambda: self.now, chance=lambda: 0.5)
        self.standing = choose.Standing()
        self.resting: dict[str, tuple[float, float]] = {}  # keys, since when and until when

    def _tell(self, message: Message[Any]) -> Any:
        """Apply the message, keep the time in the model, and return the answer."""
        self.resting = {
            key: (since, until) for key, (since, until) in self.resting.items() if since <= self.now < until
        }
        for job in self.jobs.values():
            if job.state is State.QUEUED and job.ready_at is not None and job.ready_at <= self.now:
                job.ready_at = None
            if job.state is State.QUEUED and job.start_by is not None and job.start_by <= self.now:
                self._end(job, State.EXPIRED)
        answers, _ = self.handlers.apply([message])
        return next((answer for asked, answer in answers if asked is message), None)

    def _enter(self, job: Known, state: State) -> None:
        if job.state is State.QUEUED and state in RUNNING:
            self.counted["started"] += not job.started
            job.claimed_at, job.started = self.now, True
        elif job.claimed_at is not None and state not in RUNNING:
            self.busy += max(0.0, self.now - job.claimed_at)
            job.claimed_at = None
        if state in TERMINAL:
            self.counted[state] += 1
            job.started = False  # for when it is tried again by hand
        job.state = state
        job.states.append(state)

    def _end(self, job: Known, state: State) -> None:
        self._enter(job, state)
        job.ready_at, job.expires_at = None, self.now + RULES.job_ttl

    def _error(self, job: Known, error: ForemanError) -> None:
        what = after(error, attempt=job.attempt, max_attempts=job.max_attempts, backoff=RULES.backoff, chance=0.5)
        if isinstance(what, Again):
            job.attempt -= not what.spent
            job.since = job.since if what.spent or not what.wait else self.now
            job.ready_at = self.now + what.wait if what.wait else None
            if isinstance(error, TargetBusy):
                _, until = self.resting.get(job.key, (0, 0))
                self.resting[job.key] = self.now, max(until, self.now + what.wait)
            self._enter(job, State.QUEUED)
        else:
            self._end(job, State.FAILED)

    def _draft(self, key: str, priority: Priority, attempts: int, wait: float | None, timeout: float | None) -> Any:
        self.made += 1
        self.counted["submitted"] += 1
        made = draft(
            self.made,
            key,
            priority=priority,
            max_attempts=attempts,
            not_before=self.now + wait if wait is not None else None,
            start_by=self.now + timeout if timeout is not None else None,
        )
        parked = self.now + wait if wait else None
        since = max(self.now, self.now + (wait or 0))
        self.jobs[made.id] = Known(made.id, key, int(priority), attempts, since, parked, made.start_by)
        return made

    drafts = st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(Priority),
        st.integers(1, 3),
        st.one_of(st.none(), st.none(), st.sampled_from([0.0, 5.0, 100.0])),
        st.one_of(st.none(), st.none(), st.sampled_from([4.0, 90.0])),
    )

    def _some(self, number: int) -> Known | None:
        """One of the jobs, by a number that hypothesis may choose freely; None is one that nobody made."""
        known = [*self.jobs.values(), None]
        return known[number % len(known)]

    @rule(asked=drafts)
    def submit(self, asked: Any) -> None:
        made = self._draft(*asked)
        accepted = self._tell(Submit(draft=made))
        waits = self.jobs[made.id].ready_at is None and made.key not in self.resting
        assert accepted.job.id == made.id
        assert accepted.position >= 1 if waits else accepted.position is None

    @rule(asked=st.lists(drafts, min_size=1, max_size=5))
    def submit_many(self, asked: list[Any]) -> None:
        assert self._tell(SubmitMany(drafts=[self._draft(*one) for one in asked])) == {}

    spents = st.builds(Spent, st.sampled_from([0, 1, 2]), st.sampled_from([0.5, 30.0, 700.0]), st.booleans())

    @rule(loaded=st.sampled_from([None, *KEYS]), spent=st.one_of(st.none(), spents))
    def claim(self, loaded: str | None, spent: Spent | None) -> None:
        work = self._tell(Claim(loaded=(loaded or "").__eq__, spent=spent))
        if work is None:
            self._tell(Withdraw())
        ready = [
            Head(job.key, job.priority, job.since, job.id)
            for job in self.jobs.values()
            if job.state is State.QUEUED and job.ready_at is None and job.key not in self.resting
        ]
        at_work = [job for job in self.jobs.values() if job.state in RUNNING]
        running = Counter(job.priority for job in at_work)
        if spent:
            self.standing = choose.spend(self.standing, spent, ready, running=running, now=self.now, rules=ORDER)
        choice = choose.choose(ready, self.standing, running=running, now=self.now, rules=ORDER)
        head = choice.head if choice else None
        if self.paused or choice is None or head is None or {job.key for job in at_work} - {head.key}:
            assert work is None
            return
        assert isinstance(work, Work) and work.job.id == head.id and work.payload == b"%d" % int(head.id)
        job = self.jobs[head.id]
        job.attempt, job.fence, job.start_by = job.attempt + 1, job.fence + 1, None
        self._enter(job, State.LOADING)
        if loaded == job.key:
            self._enter(job, State.WORKING)
        assert (work.job.attempt, work.job.fence, work.job.state) == (job.attempt, job.fence, job.state)
        self.standing = choose.start(self.standing, choice, self.now, limit=ORDER.limit)
        assert work.reserved is choice.reserved

    @rule(number=st.integers(0, 1000), stale=st.booleans())
    def began(self, number: int, stale: bool) -> None:
        job = self._some(number)
        if job is None:
            return
        self._tell(Began(job_id=job.id, fence=job.fence - stale))
        if not stale and job.state is State.LOADING:
            self._enter(job, State.WORKING)

    @rule(number=st.integers(0, 1000), stale=st.booleans(), error=st.one_of(st.none(), st.sampled_from(ERRORS)))
    def finished(self, number: int, stale: bool, error: ForemanError | None) -> None:
        running = [job for job in self.jobs.values() if job.state in RUNNING]
        job = running[number % len(running)] if running and number % 4 else self._some(number)
        if job is None:
            return
        answer = Answered([Artifact(name="completion", content_type="application/json", data=b"{}")])
        self._tell(Finished(job_id=job.id, fence=job.fence - stale, outcome=error or answer))
        if stale or job.state not in RUNNING:
            return
        if error is not None:
            self._error(job, error)
            return
        if job.state is State.LOADING:
            self._enter(job, State.WORKING)
        self._end(job, State.DONE)

    @rule(number=st.integers(0, 1000))
    def cancel(self, number: int) -> None:
        job = self._some(number)
        answer = self._tell(Cancel(job_id=job.id if job else "nobody"))
        if job is None:
            assert isinstance(answer, JobNotFound)
        elif job.state in TERMINAL - {State.CANCELLED}:
            assert isinstance(answer, IllegalTransition)
        elif job.state is not State.CANCELLED:
            self._end(job, State.CANCELLED)

    @rule(number=st.integers(0, 1000))
    def retry(self, number: int) -> None:
        job = self._some(number)
        answer = self._tell(Retry(job_id=job.id if job else "nobody"))
        if job is None:
            assert isinstance(answer, JobNotFound)
        elif job.state not in (State.FAILED, State.CANCELLED, State.EXPIRED):
            assert isinstance(answer, IllegalTransition)
        else:
            job.attempt, job.since, job.start_by, job.expires_at = 0, self.now, None, None
            self.counted["submitted"] += 1
            self._enter(job, State.QUEUED)

    @rule(number=st.integers(0, 1000))
    def delete(self, number: int) -> None:
        job = self._some(number)
        answer = self._tell(Delete(job_id=job.id if job else "nobody"))
        if job is None:
            assert isinstance(answer, JobNotFound)
        elif job.state not in TERMINAL:
            assert isinstance(answer, IllegalTransition)
        else:
            del self.jobs[job.id]

    @rule(most=st.integers(1, 3))
    def prune(self, most: int) -> None:
        removed = self._tell(Prune(most=most))
        over = [job for job in self.jobs.values() if job.expires_at is not None and job.expires_at <= self.now]
        assert removed == min(most, len(over))
        for job in over:
            if self.store.job(job.id) is None:
                del self.jobs[job.id]

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self._tell(Pause() if paused else Resume())
        self.paused = paused

    @rule(seconds=st.sampled_from([0.5, 3.0, 61.0, 400.0]), back=st.integers(0, 9))
    def time_passes(self, seconds: float, back: int) -> None:
        self.now += seconds if back else -seconds  # now and then a clock is set back

    @precondition(lambda self: self.jobs)
    @rule()
    def crash(self) -> None:
        self.store.close()
        self._open()
        taken = self._tell(Rescue())
        running = [job for job in self.jobs.values() if job.state in RUNNING]
        assert taken == len(running)
        for job in running:
            job.claimed_at = None  # until when it ran, nobody knows
            self._error(job, Interrupted())

    @invariant()
    def store_and_model_agree(self) -> None:
        if not hasattr(self, "jobs"):
            return
        found = {job.id: job for job in self.store.jobs(limit=1000)}
        late = {  # their time has come, and nothing has been told since
            job.id
            for job in self.jobs.values()
            if job.state is State.QUEUED and job.ready_at is not None and job.ready_at <= self.now
        }
        assert found.keys() == self.jobs.keys()
        for job in self.jobs.values():
            stored = found[job.id]
            assert (stored.state, stored.attempt, stored.fence) == (job.state, job.attempt, job.fence)
            assert stored.ready_at == job.ready_at or job.id in late
            said = [event.state for event in self.store.events(job_id=job.id, limit=10_000)]
            assert said == job.states
            assert all(after in TRANSITIONS[before] for before, after in pairwise(said))
        seqs = [event.seq for event in self.store.events(limit=100_000)]
        assert seqs == sorted(set(seqs))

    @invariant()
    def every_change_is_counted_once(self) -> None:
        if not hasattr(self, "jobs"):
            return
        every: dict[str, Any] = {"begin": 0, "end": 2_000_000, "limit": 10_000}
        names = ("submitted", *TERMINAL)
        for step, by in ((HOUR, None), (DAY, "model")):
            told = [row.figures for row in self.store.usage(step=step, by=by, **every)]
            assert {name: sum(getattr(one, name) for one in told) for name in names} == {
                name: self.counted[name] for name in names
            }
            assert sum(sum(one.waits) for one in told) == self.counted["started"]
            assert abs(sum(one.busy_seconds for one in told) - self.busy) < 1e-3


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=40)


class MachineOnPostgres(Machine):
    """The same over a schema of its own."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._ends = ExitStack()
        self._url = server.url(self._ends.enter_context(server.schema()))

    def teardown(self) -> None:
        with self._ends:
            super().teardown()

    def opened(self) -> Engine:
        return ClockedWriter(self._url)

    def problems(self) -> list[str]:
        return integrity.check_server(self._url).problems


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_machine_on_postgresql(servers: Servers, origin: str) -> None:
    server = servers.get(origin)
    few = settings(stateful_step_count=40, max_examples=EXAMPLES)
    run_state_machine_as_test(lambda: MachineOnPostgres(server), settings=few)  # type: ignore[arg-type] # any factory will do
