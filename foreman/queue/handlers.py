"""The command handlers: apply messages to the store; synchronous, on the queue actor's thread."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from msgspec.structs import replace

from foreman.domain import usage
from foreman.domain.errors import (
    ForemanError,
    IdempotencyMismatch,
    IllegalTransition,
    Interrupted,
    JobNotFound,
    JobUnreadable,
    LoadTimeout,
    QueueFull,
    StoreBroken,
    StoreBusy,
    StoreRejected,
    StoreUnavailable,
    TargetBusy,
)
from foreman.domain.job import (
    RETRIABLE,
    RUNNING,
    TERMINAL,
    Delivery,
    DeliveryState,
    Instant,
    Job,
    JobEvent,
    LoadKey,
    State,
    check_transition,
    model_of,
)
from foreman.domain.retry import Again, Backoff, after
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.breaker import Breaker, is_to_blame
from foreman.queue import outbox
from foreman.queue.commands import (
    PAUSED,
    Accepted,
    Began,
    Cancel,
    Checkpoint,
    Claim,
    Commit,
    Delete,
    DeliveryEnded,
    Finished,
    KeepUsage,
    Message,
    Note,
    Prune,
    Redeliver,
    Rescue,
    Retry,
    Submit,
    SubmitMany,
    Work,
)
from foreman.queue.positions import Outlook, Rest
from foreman.store.protocol import Writer

log = structlog.get_logger()

MODELS = 1000  # models whose failures are remembered
LANES = 1000  # different load keys that may wait at once
OVERDUE_AT_ONCE = 500
UNREADABLE_AT_ONCE = 500  # jobs that one claim may fail
FULL_PAUSE = 5.0  # seconds until writes that met a full disk are retried
BUSY_PAUSE = 0.5  # seconds until writes that met another program's lock are retried


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings for the life of jobs and deliveries."""

    max_queue: int = 100_000
    job_ttl: float = 7 * 86400  # seconds; 0: unlimited
    usage_history: float = 400 * 86400  # seconds; 0: unlimited
    backoff: Backoff = field(default_factory=lambda: Backoff(2, 300))
    webhook_retries: int = 5
    webhook_backoff: Backoff = field(default_factory=lambda: Backoff(5, 600))


class CommandHandlers:
    """The handlers of all commands: they decide with pure functions and write through the store."""

    def __init__(
        self,
        store: Writer,
        rules: Rules,
        outlook: Outlook | None = None,
        *,
        clock: Callable[[], Instant],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self.rules = rules
        self.outlook = outlook or Outlook()
        self.clock = clock
        self.chance = chance
        self.next_due = store.next_due()  # when `tick` next has work
        self._paused: bool | None = None  # cached from the note PAUSED; None: not read yet
        self._running: dict[str, Job] = {}  # a copy of the store's rows; this is their only writer
        self._recall()
        self._owed: list[Message[Any]] = []  # worker reports not stored yet; their senders do not repeat them
        self._events: list[JobEvent] = []
        self._work_available = False
        self._redelivers = False
        self._handlers: dict[type, Callable[[Any, Instant], object]] = {
            Submit: self._submit,
            SubmitMany: self._submit_many,
            Claim: self._claim,
            Began: self._began,
            Finished: self._finished,
            Rescue: self._rescue,
            Cancel: self._cancel,
            Retry: self._retry,
            Delete: self._delete,
            DeliveryEnded: self._delivery_ended,
            Redeliver: self._redeliver,
            Note: self._note,
            Prune: self._prune,
            KeepUsage: self._keep_usage,
        }

    def apply(self, batch: Sequence[Message[Any]]) -> tuple[list[object], Commit]:
        """Apply messages in one transaction and return their answers; they are on disk when this returns.

        A message answered with a ForemanError wrote nothing. When the disk is full, or the store rejects a message,
        each one gets a transaction of its own, so that one does not fail the others. While another program locks the
        store none is retried, since each retry would wait for the lock. Unstored reports of workers are kept.

        Raises:
            StoreBroken: The store cannot go on.
        """
        alone = [message for message in batch if isinstance(message, Checkpoint)]
        together = [*self._owed, *(message for message in batch if not isinstance(message, Checkpoint))]
        self._owed = []
        try:
            answers, commit = self._in_one(together)
        except StoreBusy as busy:
            answers, commit = [busy for _ in together], Commit([])
            self._owe(together)
            self.next_due = self.clock() + BUSY_PAUSE
        except (StoreUnavailable, StoreRejected) as error:
            tried = [self._in_one_or_error(message) for message in together]
            answers = [answer for answer, _ in tried]
            events = [event for _, done in tried for event in done.events]
            if isinstance(error, StoreUnavailable):
                self.next_due = self.clock() + FULL_PAUSE
            commit = Commit(
                events,
                work_available=any(done.work_available for _, done in tried),
                posted=any(done.posted for _, done in tried),
            )
        by_message = dict(zip(map(id, together), answers, strict=True))
        by_message |= {id(message): self._checkpoint() for message in alone}
        return [by_message[id(message)] for message in batch], commit

    @property
    def owes(self) -> bool:
        """Return True while reports of workers are still to be stored."""
        return bool(self._owed)

    def tick(self) -> Commit:
        """Wake the jobs that became ready and expire the overdue ones."""
        return self.apply([])[1]

    def _in_one(self, batch: Sequence[Message[Any]]) -> tuple[list[object], Commit]:
        self._events, self._work_available, self._redelivers = [], False, False
        now = self.clock()
        outlook = self.outlook
        before = outlook.standing, outlook.resting, outlook.breakers
        try:
            with self.store.transaction():
                again = self._keep_time(now)
                answers = [self._answer(message, now) for message in batch]
                due = self._due()
                self.next_due = None if due is None else max(due, again)
        except (StoreUnavailable, StoreRejected):
            outlook.standing, outlook.resting, outlook.breakers = before
            self._recall()  # the rollback undid changes that are already in `_running`
            raise
        posted = self._redelivers or any(event.posted for event in self._events)
        return answers, Commit(self._events, self._work_available, posted)

    def _recall(self) -> None:
        """Reload the cached state from the store."""
        self._paused = None
        self._running = {job.id: job for job in self.store.running()}

    def _in_one_or_error(self, message: Message[Any]) -> tuple[object, Commit]:
        try:
            answers, commit = self._in_one([message])
        except (StoreUnavailable, StoreRejected) as error:
            if isinstance(error, StoreUnavailable):
                self._owe([message])
            return error, Commit([])
        return answers[0], commit

    def _owe(self, messages: Sequence[Message[Any]]) -> None:
        """Keep the reports of workers to retry: their senders do not wait for an answer."""
        self._owed += [message for message in messages if isinstance(message, (Began, Finished))]

    def _answer(self, message: Message[Any], now: Instant) -> object:
        try:
            return self._handlers[type(message)](message, now)
        except (StoreBroken, StoreUnavailable, StoreRejected):
            raise
        except ForemanError as error:  # every handler decides before it writes, so there is nothing to undo
            return error

    def _keep_time(self, now: Instant) -> Instant:
        """Do the work that is due; return the time before which a retry is useless."""
        again = -math.inf
        self._end_rests(now)
        if self.next_due is None or self.next_due > now:
            return again
        self._work_available |= self.store.wake(now) > 0
        for job in self.store.overdue(now, OVERDUE_AT_ONCE):
            if isinstance(job, JobUnreadable):
                if not self._set_aside(job, now):  # unwritable too: its id is not text
                    again = now + FULL_PAUSE
                continue
            text = "not started by the time given in start_by"
            self._put(self._ended(job, State.EXPIRED, now, error=text, code="expired"), job, now)
        return again

    # One method per message. Each decides first and writes last.

    def _submit(self, message: Submit, now: Instant) -> Accepted:
        draft = message.draft
        if draft.idempotency_key and (known := self.store.by_idempotency_key(draft.owner, draft.idempotency_key)):
            job, fingerprint = known
            if fingerprint not in draft.fingerprints:
                raise IdempotencyMismatch
            return Accepted(job, self.outlook.of(self.store, job, now).position)
        if message.refusal is not None:
            raise message.refusal
        self._check_room([draft.key])
        position = self.outlook.of_next(self.store, draft, now)
        self._events += self.store.add([draft], now=now)
        return Accepted(self._find(draft.id), position)

    def _submit_many(self, message: SubmitMany, now: Instant) -> None:
        self._check_room([draft.key for draft in message.drafts])
        self._events += self.store.add(message.drafts, now=now)

    def _check_room(self, keys: Sequence[LoadKey]) -> None:
        """Raise QueueFull unless one job per key can be added."""
        board = self.store.board()
        most = self.rules.max_queue
        if board.waiting + len(keys) > most:
            raise QueueFull(f"the queue is full: it takes {most} jobs", "the setting max_queue raises the limit")
        new_keys = {key for key in keys if key not in board}
        if new_keys and board.keys + len(new_keys) > LANES:
            raise QueueFull(f"{LANES} different models and load options are waiting", "use fewer different options")

    def _claim(self, message: Claim, now: Instant) -> Work | None:
        outlook, rules = self.outlook, self.outlook.rules
        heads = outlook.heads(self.store)
        running = Counter(int(job.priority) for job in self._running.values())
        if message.spent is not None:
            outlook.standing = choose.spend(
                outlook.standing, message.spent, heads, running=running, now=now, rules=rules
            )
        if self._paused is None:
            self._paused = self.store.note(PAUSED) == "true"
        if self._paused:
            return None
        for _ in range(UNREADABLE_AT_ONCE):
            choice = choose.choose(heads, outlook.standing, running=running, now=now, rules=rules)
            if choice is None:
                return None
            head = choice.head
            if any(job.key != head.key for job in self._running.values()):
                return None  # the target changes its key only once no job runs
            try:
                job, payload = self._read(head.id)
                break
            except JobUnreadable as error:  # changed by another program; it must not block the jobs behind it
                self._set_aside(error, now)
                heads = outlook.heads(self.store)
        else:
            self._work_available = True  # the next claim continues, so that other messages need not wait
            return None
        more = self.store.board().ready > 1
        claimed = replace(
            job,
            state=State.LOADING,
            attempt=job.attempt + 1,
            fence=job.fence + 1,
            started_at=job.started_at or now,
            start_by=None,  # met; pauses between attempts must not expire the job
            error=None,
            error_code=None,
        )
        outlook.standing = choose.start(outlook.standing, choice, now)
        if breaker := outlook.breakers.get(model_of(job.key)):
            self._judge(job.key, breaker.claimed(job.id, now))
        if message.loaded == job.key:
            claimed = replace(claimed, state=State.WORKING)
            self._events += self.store.begin(claimed, now=now)
            self._running[job.id] = claimed
        else:
            self._put(claimed, job, now)
        return Work(claimed, payload, self._events[-1].seq, reserved=choice.reserved, more=more)

    def _began(self, message: Began, now: Instant) -> None:
        job = self._held(message.job_id, message.fence)
        if job and message.loaded:
            self.store.used(job, loads=1, now=now)
        if job and job.state is State.LOADING:
            self._put(replace(job, state=State.WORKING), job, now)

    def _finished(self, message: Finished, now: Instant) -> None:
        job = self._held(message.job_id, message.fence)
        if job is None:
            return
        if isinstance(message.outcome, ForemanError):
            again = self._error(job, message.outcome, now, free=self._blames(job, message.outcome, now))
            if isinstance(message.outcome, (TargetBusy, LoadTimeout)):
                self._let_rest(again.key, now, again.ready_at or now + self.rules.backoff.first)
            return
        if job.state is State.LOADING:  # messages keep their order, so no Began was sent
            job = self._put(replace(job, state=State.WORKING), job, now)
        self._judge(job.key, None)
        self.store.keep(job.id, message.outcome.artifacts)
        self.store.used(job, tokens=message.outcome.tokens, now=now)
        flaw = message.outcome.flaw
        error, code = (str(flaw), flaw.code) if flaw else (None, None)
        self._put(self._ended(job, State.DONE, now, error=error, code=code), job, now)

    def _rescue(self, message: Rescue, now: Instant) -> int:
        running = list(self._running.values())
        for job in running:
            self._error(job, Interrupted(), now)
        return len(running)

    def _cancel(self, message: Cancel, now: Instant) -> Job:
        job = self._find(message.job_id)
        if job.state is State.CANCELLED:
            return job
        if job.state in TERMINAL:
            raise IllegalTransition("cancel", job.state)
        return self._put(self._ended(job, State.CANCELLED, now), job, now)

    def _retry(self, message: Retry, now: Instant) -> Job:
        job = self._find(message.job_id)
        if job.state not in RETRIABLE:
            raise IllegalTransition("retry", job.state)
        self._check_room([job.key])
        fresh = replace(
            job,
            state=State.QUEUED,
            attempt=0,
            since=now,
            ready_at=None,
            start_by=None,
            started_at=None,
            completed_at=None,
            expires_at=None,
            error=None,
            error_code=None,
        )
        return self._put(fresh, job, now)

    def _delete(self, message: Delete, now: Instant) -> None:
        try:
            job = self._find(message.job_id)
        except JobUnreadable as error:  # an unreadable job may be deleted in any state
            self._set_aside(error, now)
        else:
            if job.state not in TERMINAL:
                raise IllegalTransition("delete", job.state)
        self.store.delete([message.job_id])

    def _delivery_ended(self, message: DeliveryEnded, now: Instant) -> None:
        rules = self.rules
        state = outbox.settle(
            self.store,
            message.delivery,
            message.sent,
            retries=rules.webhook_retries,
            backoff=rules.webhook_backoff,
            chance=self.chance(),
            now=now,
        )
        self._redelivers |= state is DeliveryState.DUE
        if state is DeliveryState.STOPPED and (job := self._running.get(message.delivery.job_id)):
            self._running[job.id] = replace(job, webhook_url=None)

    def _redeliver(self, message: Redeliver, now: Instant) -> Delivery:
        self._find(message.job_id)
        again = outbox.redeliver(self.store, message.job_id, message.seq, now=now)
        self._redelivers = True
        return again

    def _note(self, message: Note, now: Instant) -> None:
        self.store.set_note(message.name, message.value)
        self._paused = None
        self._work_available = True

    def _prune(self, message: Prune, now: Instant) -> int:
        expired = self.store.prunable(now, message.most)
        self.store.delete(expired, pruning=True)
        return len(expired)

    def _keep_usage(self, message: KeepUsage, now: Instant) -> None:
        self.store.sample(now)
        minutes, hours = (usage.kept_since(step, now, self.rules.usage_history) for step in usage.STORED)
        self.store.prune_usage(minutes=minutes, hours=hours)

    def _checkpoint(self) -> int | StoreUnavailable:
        try:
            return self.store.checkpoint()
        except StoreUnavailable as error:
            return error

    # Shared by the handlers.

    def _find(self, job_id: str) -> Job:
        job = self.store.job(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    def _read(self, job_id: str) -> tuple[Job, bytes]:
        found = self.store.with_payload(job_id)
        if found is None:
            raise JobUnreadable(job_id, "its request is missing")
        if found[0].state is not State.QUEUED:  # the board has it as queued
            raise JobUnreadable(job_id, f"its state became {found[0].state} while it waited")
        return found

    def _set_aside(self, error: JobUnreadable, now: Instant) -> bool:
        """Fail a job that cannot be read; return True when it was waiting."""
        expires = now + self.rules.job_ttl if self.rules.job_ttl else None
        if event := self.store.set_aside(error, now=now, expires_at=expires):
            log.error("job failed: it cannot be read", why=str(error))
            self._events.append(event)
        return event is not None

    def _held(self, job_id: str, fence: int) -> Job | None:
        """Return the running job, or None when `fence` is no longer current."""
        job = self._running.get(job_id)
        return job if job and job.fence == fence else None

    def _blames(self, job: Job, error: ForemanError, now: Instant) -> bool:
        """Record an error that the server is to blame for; return True when the attempt must not count."""
        breaker = self.outlook.breakers.get(model_of(job.key), Breaker())
        if not is_to_blame(error):
            return False
        self._judge(job.key, breaker.failed(job.id, error.code, now))
        return breaker.costs_nothing(job.id, now)

    def _judge(self, key: LoadKey, breaker: Breaker | None) -> None:
        """Set the breaker of the key's model; None closes it with no failures counted."""
        model = model_of(key)
        before = self.outlook.breakers.get(model)
        if before != breaker:
            others = {name: one for name, one in self.outlook.breakers.items() if name != model}
            while len(others) >= MODELS:
                del others[next(iter(others))]
                self._work_available = True
            self.outlook.breakers = others if breaker is None else {**others, model: breaker}
            self._work_available |= before is not None and before.rests and not (breaker and breaker.rests)

    def _error(self, job: Job, error: ForemanError, now: Instant, *, free: bool = False) -> Job:
        """Requeue or fail a job after a failed attempt; with `free` the attempt does not count."""
        decision = after(
            error, attempt=job.attempt, max_attempts=job.max_attempts, backoff=self.rules.backoff, chance=self.chance()
        )
        if free:
            decision = Again(wait=max(0.0, (self.outlook.breakers[model_of(job.key)].until or now) - now), spent=False)
        if isinstance(decision, Again):
            # A busy target may take other jobs meanwhile; after a load timeout another job tries the next load.
            behind = isinstance(error, LoadTimeout) or (decision.wait > 0 and not decision.spent)
            again = replace(
                job,
                state=State.QUEUED,
                attempt=job.attempt if decision.spent else job.attempt - 1,
                since=now if behind else job.since,
                ready_at=now + decision.wait if decision.wait > 0 else None,
                error=str(error),
                error_code=error.code,
            )
            return self._put(again, job, now)
        return self._put(self._ended(job, State.FAILED, now, error=str(error), code=error.code), job, now)

    def _let_rest(self, key: LoadKey, since: Instant, until: Instant) -> None:
        """Claim no job of the key before `until`: its server is busy or cannot load it, and may serve other keys."""
        resting = self.outlook.resting
        if key in resting:
            until = max(until, resting[key].until)
        self.outlook.resting = {**resting, key: Rest(since, until)}

    def _end_rests(self, now: Instant) -> None:
        resting = self.outlook.resting
        still = {key: rest for key, rest in resting.items() if rest.since <= now < rest.until}
        if len(still) < len(resting):
            self.outlook.resting = still
            self._work_available = True
        for model, breaker in self.outlook.breakers.items():
            self._judge(model, breaker.at(now))

    def _due(self) -> Instant | None:
        """Return the time of the next change that needs no message, or None."""
        due = self.store.next_due()
        ends = [rest.until for rest in self.outlook.resting.values()]
        ends += [breaker.until for breaker in self.outlook.breakers.values() if breaker.until is not None]
        return min(ends if due is None else [*ends, due], default=None)

    def _ended(self, job: Job, state: State, now: Instant, *, error: str | None = None, code: str | None = None) -> Job:
        expires = now + self.rules.job_ttl if self.rules.job_ttl else None
        return replace(
            job, state=state, completed_at=now, expires_at=expires, error=error, error_code=code, ready_at=None
        )

    def _put(self, job: Job, before: Job, now: Instant) -> Job:
        check_transition("change", before.state, job.state)
        self._events.append(self.store.put(job, previous=before.state, now=now))
        if job.state in RUNNING:
            self._running[job.id] = job
        else:
            self._running.pop(job.id, None)
            if breaker := self.outlook.breakers.get(model_of(job.key)):
                self._judge(job.key, breaker.left(job.id))
        return job
