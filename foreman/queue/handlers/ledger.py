"""The ledger: what all handlers share, and the changes of the transaction that is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from foreman.domain.caller import Caller
from foreman.domain.errors import JobNotFound, JobUnreadable
from foreman.domain.job import RUNNING, Instant, Job, JobEvent, LoadKey, State, check_transition, model_of
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.breaker import Breaker
from foreman.domain.scheduling.turns import Turns
from foreman.queue.commands import PAUSED
from foreman.queue.positions import Outlook
from foreman.store.protocol import Writer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings for the life of jobs and deliveries."""

    max_queue: int = 100_000
    job_ttl: float = 7 * 86400  # seconds; 0: unlimited
    usage_history: float = 400 * 86400  # seconds; 0: unlimited
    backoff: Backoff = field(default_factory=lambda: Backoff(2, 300))
    webhook_retries: int = 5
    webhook_backoff: Backoff = field(default_factory=lambda: Backoff(5, 600))


class Ledger:
    """The store with the state cached from it, and the changes of the transaction that is open."""

    def __init__(self, store: Writer, rules: Rules, outlook: Outlook, chance: Callable[[], float]) -> None:
        self.store = store
        self.rules = rules
        self.outlook = outlook
        self.chance = chance
        self.now: Instant = 0.0  # of the transaction
        self.events: list[JobEvent] = []
        self.work_available = False  # True when jobs became claimable without an event
        self.redelivers = False
        self.running: dict[str, Job] = {}  # a copy of the store's rows; `put` is its only writer
        self.recall()

    def begin(self, now: Instant) -> None:
        """Forget the changes of the previous transaction."""
        self.now = now
        self.events, self.work_available, self.redelivers = [], False, False

    def recall(self) -> None:
        """Reload the cached state from the store: a rollback undid changes that are already in it."""
        self.outlook.paused = self.store.note(PAUSED) == "true"
        self.running = {job.id: job for job in self.store.running()}

    def pause(self, paused: bool) -> None:
        """Pause or resume the queue."""
        self.store.set_note(PAUSED, "true" if paused else "false")
        self.outlook.paused = paused
        self.work_available |= not paused

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

    def put(self, job: Job, before: Job) -> Job:
        """Write the job after a transition, with its event."""
        check_transition("change", before.state, job.state)
        self.events.append(self.store.put(job, previous=before.state, now=self.now))
        if job.state in RUNNING:
            self.running[job.id] = job
        else:
            self.running.pop(job.id, None)
            if breaker := self.outlook.turns.breakers.get(model_of(job.key)):
                self.judge(job.key, breaker.left(job.id))
        return job

    def ended(self, job: Job, state: State, *, error: str | None = None, code: str | None = None) -> Job:
        """Return the job as it ends in `state` now."""
        return replace(
            job,
            state=state,
            completed_at=self.now,
            expires_at=self._expiry(),
            error=error,
            error_code=code,
            ready_at=None,
        )

    def set_aside(self, error: JobUnreadable) -> bool:
        """Fail a job that cannot be read; return True when it was waiting."""
        if event := self.store.set_aside(error, now=self.now, expires_at=self._expiry()):
            log.error("job failed: it cannot be read", why=str(error))
            self.events.append(event)
        return event is not None

    def schedule(self, turns: Turns) -> None:
        """Set the state of the scheduler; there may be work again for a key or model that rests no more."""
        if turns is not self.outlook.turns:
            self.work_available |= turns.releases(self.outlook.turns)
            self.outlook.turns = turns

    def judge(self, key: LoadKey, breaker: Breaker | None) -> None:
        """Set the breaker of the key's model; None closes it with no failures counted."""
        self.schedule(self.outlook.turns.judge(model_of(key), breaker))

    def _expiry(self) -> Instant | None:
        return self.now + self.rules.job_ttl if self.rules.job_ttl else None
