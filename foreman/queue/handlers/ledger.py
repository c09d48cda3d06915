"""The ledger: what all handlers share, and the changes of the transaction that is open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import structlog
from msgspec.structs import replace

from foreman.domain import events
from foreman.domain.batches import Counts
from foreman.domain.caller import Caller
from foreman.domain.errors import JobNotFound, JobUnreadable
from foreman.domain.job import (
    RUNNING,
    Artifact,
    Delivery,
    Draft,
    Instant,
    Job,
    JobEvent,
    LoadKey,
    State,
    at_node,
    model_of,
    node_of,
    queued,
)
from foreman.domain.scheduling.breaker import Breaker
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.domain.usage import Depth, Tally
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.handlers.line_counts import LineCounts
from foreman.queue.handlers.open_claims import OpenClaims
from foreman.queue.occupancy import Occupancy
from foreman.queue.outlook import Outlook
from foreman.store.protocol import Writer
from foreman.store.records import PAUSED

log = structlog.get_logger()


class Ledger:
    """The store with the state cached from it, and the changes of the transaction that is open.

    Changes of jobs are collected and written together, in few statements: at the end, or before the store is read.
    `target` is the target's name in the usage figures, `node` this node's among those that have the store.
    """

    def __init__(
        self,
        store: Writer,
        rules: JobRules,
        outlook: Outlook,
        chance: Callable[[], float],
        target: str = "",
        node: str = "",
    ) -> None:
        self._store = store
        self.node = node
        self.rules, self.chance = rules, chance
        self.outlook = outlook
        outlook.board.load(store)
        self.tally = Tally(target, waiting=outlook.board.waiting)
        self.now: Instant = 0.0  # of the transaction, by the store's clock
        self.events: list[JobEvent] = []
        self.redelivers = self.unfinished = False  # `unfinished`: `claims` met too many jobs that cannot be read
        self.claims, self.line_counts = OpenClaims(), LineCounts()
        self.endings: list[Job] = []  # as they have ended in this transaction
        self.tokens: dict[str, dict[int, int]] = {}  # by owner and minute, as far as quotas have asked for them
        self.giving_way: dict[str, str] = {}  # running jobs that were told to give way, with the job that goes first
        self.told_to_give_way: dict[str, str] = {}  # those of this transaction
        self.looks_again: Instant | None = None  # when another job may be able to give way
        self._new: dict[str, tuple[Draft, Job]] = {}  # added and not written yet
        self._changed: list[Job] = []
        self._artifacts: dict[str, Sequence[Artifact]] = {}
        self._unlogged: list[JobEvent] = []
        self._deliveries: list[Delivery] = []
        self._depths: Sequence[Depth] = ()
        self._newest = self._newest_before = 0  # seq
        self.followed: list[JobEvent] = []  # of other nodes, not reported yet
        self.missed: dict[str, int] | None = None  # see `Commit.missed`; not reported yet
        self._follows_due = False  # True when a webhook of another node's commit has become due
        self.due: Instant | None = None  # what the store says is due next, unless `due_changed`
        self.due_changed = True
        self.running: dict[str, Job] = {}  # a copy of the store's rows; `put` is its only writer
        self.occupancy = Occupancy()  # of the running jobs
        self.recall()

    def begin(self, now: Instant) -> None:
        """Forget the changes of the previous transaction."""
        self.now = now
        self.events, self.endings, self.redelivers, self.unfinished = [], [], False, False
        self.told_to_give_way, self.looks_again = {}, None
        self.claims.begin()
        self._newest_before = self._newest

    def write(self) -> None:
        """Write what the handlers have changed, the numbers of the lines, and the usage figures."""
        if changed := self.refreshed().board.changes():
            self._store.put_lines(changed)
        self._flush()
        self._depths = self.tally.depths()
        self._store.add_usage(self.tally.figures, self._depths)

    @property
    def store(self) -> Writer:
        """Return the store, with all changes of the transaction so far."""
        self._flush()
        return self._store

    def _flush(self) -> None:
        if self._new:
            drafts, jobs = zip(*self._new.values(), strict=True)
            if latest := {job.id: job for job in self._changed if job.id in self._new}:
                jobs = tuple(latest.get(job.id, job) for job in jobs)
                self._changed = [job for job in self._changed if job.id not in latest]
            self._store.add(drafts, jobs)
            self._new = {}
        if self._changed or self._artifacts:
            self._store.put(self._changed, self._artifacts)
            self._changed, self._artifacts = [], {}
        if self._unlogged:
            self._store.log(self._unlogged)
            self._unlogged = []
        if self._deliveries:
            self._store.put_deliveries(self._deliveries)
            self._deliveries = []
        self.line_counts.write(self._store)

    def commit(self) -> None:
        """Accept the sums: the transaction is on disk."""
        self.outlook.board.commit()
        self.giving_way |= self.told_to_give_way
        self.tally.commit(self._depths)

    def roll_back(self) -> None:
        """Discard the changes and the sums; the claims wait again, but for those whose work was lent."""
        self.claims.roll_back()
        self._new, self._changed, self._artifacts, self._unlogged, self._deliveries = {}, [], {}, [], []
        self._newest, self.due_changed = self._newest_before, True
        self.outlook.board.roll_back()
        self.tally.forget()
        self.line_counts.forget()
        self.tokens.clear()

    def recall(self) -> None:
        """Reload the cached state from the store: a rollback undid changes that are already in it."""
        self.outlook.paused = self._store.note(PAUSED) == "true"
        self.outlook.recall(self._store, self.name_of)
        self.running = {job.id: job for job in self._store.running()}
        self.occupancy = Occupancy(self.running.values())
        self._newest = self._store.seqs().newest

    def follow(self, newest: int, followed: Sequence[JobEvent], jobs: Iterable[Job], *, posted: bool) -> bool:
        """Accept what others have committed, which no rollback undoes; return True if events of deleted jobs lack."""
        missed = newest - self._newest > len(followed)
        self._newest = self._newest_before = newest
        self.followed += followed
        self._follows_due |= posted
        self.due_changed |= any(map(_may_be_due, jobs))
        self.tokens.clear()
        self.tally.follow(waiting=self.outlook.board.waiting, running=len(self.running))
        return missed

    def miss(self, job_ids: Iterable[str]) -> None:
        """Have it reported that these run no more, though no event of those that are known says so."""
        self.missed = {**(self.missed or {}), **dict.fromkeys(job_ids, self._newest)}

    def report_followed(self) -> tuple[Sequence[JobEvent], bool, dict[str, int] | None]:
        """Return the events of other nodes since the last call, True if a webhook has become due, and `missed`."""
        reported = self.followed, self._follows_due, self.missed
        self.followed, self._follows_due, self.missed = [], False, None
        return reported

    def refreshed(self) -> Outlook:
        """Return the outlook with the heads of all lanes, as the transaction has left them so far."""
        if self.outlook.board.headless:
            self.outlook.board.refresh(self.store)
        return self.outlook

    def pause(self, paused: bool) -> None:
        """Pause or resume the queue."""
        self.store.set_note(PAUSED, "true" if paused else "false")
        self.outlook.paused = paused

    def find(self, job_id: str, caller: Caller) -> Job:
        """Return a job that the caller may change.

        Raises:
            JobNotFound: There is none, or the caller may not see it.
            AdminRequired: The job is another caller's.
            JobUnreadable: Another program made it unreadable.
        """
        try:
            job = self.store.job(job_id)
        except JobUnreadable:
            caller.check_owner(job_id, None)
            raise
        if job is None:
            raise JobNotFound(job_id)
        caller.check_owner(job_id, job.owner)
        return job

    def add(self, drafts: Sequence[Draft]) -> list[Job]:
        """Add a queued job for each draft, and return them."""
        jobs = [queued(draft, self.now) for draft in drafts]
        self._new.update(zip([draft.id for draft in drafts], zip(drafts, jobs, strict=True), strict=True))
        self.due_changed = self.due_changed or any(_may_be_due(job) for job in jobs)
        self._log([events.submitted(job, seq=seq) for seq, job in enumerate(jobs, self._newest + 1)], jobs)
        self.outlook.board.enter(jobs)
        self.tally.submitted(jobs, self.now)
        return jobs

    def put(self, job: Job, before: Job, artifacts: Sequence[Artifact] = ()) -> Job:
        """Write the job after a transition, with its events and, if it is done, its artifacts."""
        self._changed.append(job)
        self.endings += [job] * (job.completed_at is not None)
        if artifacts:
            self._artifacts[job.id] = artifacts
        self.due_changed |= _may_be_due(job) or _may_be_due(before)
        happened = events.changed(job, before.state, self.now, seq=self._newest + 1)
        self._log(happened, [job] * len(happened))
        if before.state is State.QUEUED:
            self.outlook.board.leave(before)
        if job.state is State.QUEUED:
            self.outlook.board.enter([job])
            if job.target is not None:
                self.outlook.tried[job.id] = job.target
        elif self.outlook.tried:
            self.outlook.tried.pop(job.id, None)
        self.tally.changed(job, before.state, self.now, first=before.started_at is None)
        self.line_counts.changed(job)
        if job.state in RUNNING:
            if job.id not in self.running:
                self.occupancy.add(job)
            self.running[job.id] = job
        elif ran := self.running.get(job.id):
            self.forget(ran, before)
        return job

    def forget(self, ran: Job, before: Job | None = None) -> None:
        """Count a job as running no more; `before` is what it was before the transition, if not as it ran."""
        del self.running[ran.id]
        self.occupancy.remove(ran)
        self.giving_way.pop(ran.id, None)
        self._left(before or ran)

    def recent(self, job_id: str) -> Job | None:
        """Return a job that may be claimed, if it need not be read from the store."""
        return self._new[job_id][1] if job_id in self._new else self._store.recent(job_id)

    def claimable(self, job_id: str) -> tuple[Job, bytes] | None:
        """Return a job with its payload, or None when there is none."""
        if new := self._new.get(job_id):
            draft, job = new
            return job, draft.payload
        store = self.store if any(job.id == job_id for job in self._changed) else self._store
        return store.with_payload(job_id)

    def _log(self, happened: Sequence[JobEvent], jobs: Sequence[Job]) -> None:
        """Log events, with a delivery for each one that a webhook of its job carries."""
        self._newest += len(happened)
        self.events += happened
        self._unlogged += happened
        self._deliveries += [
            events.first_delivery(event, job.webhook_url)
            for event, job in zip(happened, jobs, strict=False)
            if event.posted and job.webhook_url is not None
        ]

    def ended(self, job: Job, state: State, *, error: str | None = None, code: str | None = None) -> Job:
        """Return the job as it ends in `state` now."""
        return replace(
            job,
            state=state,
            completed_at=self.now,
            expires_at=self._expiry(job.batch_id),
            error=error,
            error_code=code,
            ready_at=None,
        )

    def expire(self, job: Job) -> None:
        """End a job that has not started by its `start_by`."""
        self.put(self.ended(job, State.EXPIRED, error="not started by the time given in start_by", code="expired"), job)

    def set_aside(self, error: JobUnreadable) -> bool:
        """Fail a job that cannot be read, so that it does not block others; return True when it was waiting."""
        self.due_changed = True
        text, now = str(error), self.now
        if remains := self.store.remains(error.job_id):
            expiry = self._expiry(remains.batch_id)
            self.store.set_aside(error.job_id, now=now, expires_at=expiry, error=text, code=error.code)
            if remains.batch_id is not None:
                self.line_counts.add(remains.batch_id, Counts(failed=1))
            event = events.unreadable(error.job_id, text, attempt=remains.attempt, now=now, seq=self._newest + 1)
            self._log([event], [])
            log.error("job failed: it cannot be read", why=text)
        board = self.refreshed().board
        waiting = board.waiting
        # It was counted in the line on the board, which its row may not name any more.
        if line := board.headed_by(error.job_id):
            board.remove(line, error.job_id)
        elif remains and remains.line:
            board.remove(remains.line, error.job_id, parked=remains.parked)
        if board.waiting < waiting:
            self.tally.set_aside(self.now)
        return remains is not None

    def name_of(self, note: str) -> str:
        """Return the name of this node's own note of a kind."""
        return at_node(note, self.node)

    def is_ours(self, job: Job) -> bool:
        """Return True when the job's latest attempt was made by this node."""
        return node_of(job.target) == self.node

    def schedule(self, target: str, state: SchedulerState) -> None:
        """Set the state of the scheduler for a target."""
        if state is not self.outlook.state_of(target):
            self.outlook.states = {**self.outlook.states, target: state}

    def keep_turns(self, targets: Collection[str]) -> None:
        """Forget the state of the scheduler for all targets but these."""
        self.outlook.states = {name: state for name, state in self.outlook.states.items() if name in targets}

    def judge(self, target: str, key: LoadKey, breaker: Breaker | None) -> None:
        """Set the breaker of the key's model at a target; None closes it with no failures counted."""
        self.schedule(target, self.outlook.state_of(target).with_breaker(model_of(key), breaker))

    def _left(self, job: Job) -> None:
        """Record in the scheduler that a job runs no more; it is given as it ran."""
        target = job.target or ""
        state = self.outlook.state_of(target)
        if breaker := state.breakers.get(model_of(job.key)):
            self.judge(target, job.key, breaker.left(job.id))
            state = self.outlook.state_of(target)
        if job.prefix:
            state = state.with_prompts(state.prompts.ended(job.id))
            self.schedule(target, state)
        if (turn := state.standing.turn(job.key)) and turn.took:
            self.schedule(target, state.with_standing(state.standing.changed(replace(turn, used=self.now))))

    def _expiry(self, batch_id: str | None) -> Instant | None:
        return None if batch_id or not self.rules.job_ttl else self.now + self.rules.job_ttl  # a batch expires whole


def _may_be_due(job: Job) -> bool:
    """Return True when a job has a time at which it changes by itself."""
    return job.ready_at is not None or job.start_by is not None
