"""The handlers of what callers ask of jobs: submit, cancel, retry, delete. Each decides first and writes last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import (
    CancelledWhileRunning,
    ForemanError,
    IdempotencyMismatch,
    IllegalTransition,
    JobUnreadable,
    LineOfBatch,
    QueueFull,
    QuotaExceeded,
    RetriedTooOften,
)
from foreman.domain.job import RETRIABLE, TERMINAL, Draft, Job, JobEvent, LoadKey, State
from foreman.domain.responses.numbers import LAST_RETRY, LOST
from foreman.queue.commands import Accepted, Cancel, Delete, Retry, Submit, SubmitMany, Uncancel
from foreman.queue.handlers import claims, quotas
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.outlook import Expected

LANES = 1000  # different load keys that may wait at once
EVENTS = 1000  # of one job, read at a time


def submit(ledger: Ledger, message: Submit) -> Accepted:
    """Add a job, or return the one that its caller submitted under the same idempotency key."""
    draft, outlook, now = message.draft, ledger.refreshed(), ledger.now
    if draft.idempotency_key and (known := ledger.store.by_idempotency_key(draft.owner, draft.idempotency_key)):
        job, fingerprint = known
        if fingerprint not in draft.fingerprints:
            raise IdempotencyMismatch
        expected = outlook.of(ledger.store, job, now, up=not outlook.paused)
        return Accepted(job, expected.position, late=expected.late(job, now))
    if draft.refusal is not None:
        raise draft.refusal
    _check_quota(ledger, draft.owner)
    _check_room(ledger, [draft.key])
    # While more claims wait than jobs, it is claimed at once; a position is work that nobody would look at.
    expected = Expected()
    if len(ledger.claims.waiting) <= outlook.board.ready:
        expected = outlook.of_next(draft, now, up=draft.start_by is not None and not outlook.paused)
    [job] = ledger.add([draft])
    return Accepted(job, expected.position, late=expected.late(job, now))


def submit_many(ledger: Ledger, message: SubmitMany) -> Mapping[int, ForemanError]:
    """Add the drafts that no quota refuses, or none; return the errors of the refused ones by their index."""
    refused = _over_quota(ledger, message.drafts)
    drafts = (
        [draft for index, draft in enumerate(message.drafts) if index not in refused] if refused else message.drafts
    )
    _check_room(ledger, [draft.key for draft in drafts])
    ledger.add(drafts)
    return refused


def cancel(ledger: Ledger, message: Cancel) -> Job:
    """Cancel a job that has not ended."""
    job = ledger.find(message.job_id, message.caller)
    if job.state is State.CANCELLED:
        return job
    if job.state in TERMINAL:
        raise IllegalTransition("cancel", job.state)
    return ledger.put(ledger.ended(job, State.CANCELLED), job)


def retry(ledger: Ledger, message: Retry) -> Accepted:
    """Queue a failed, cancelled or expired job again."""
    job = ledger.find(message.job_id, message.caller)
    fresh = requeued(ledger, job)
    outlook = ledger.refreshed()
    expected = outlook.of_retried(fresh, ledger.now, up=not outlook.paused)
    return Accepted(ledger.put(fresh, job), expected.position, expected.seconds)


def uncancel(ledger: Ledger, message: Uncancel) -> Job:
    """Queue a job again that was cancelled while it was queued, as it was. Raise CancelledWhileRunning for others."""
    job = ledger.find(message.job_id, message.caller)
    fresh = uncancelled(ledger, job)
    if _before_its_end(ledger, job.id) is not State.QUEUED:
        raise CancelledWhileRunning(job.id)
    return ledger.put(fresh, job)


def _before_its_end(ledger: Ledger, job_id: str) -> State | None:
    """Return the state that a job had before its latest event; None when that is not known."""
    latest: JobEvent | None = None
    while page := ledger.store.events(job_id=job_id, after=latest.seq if latest else 0, limit=EVENTS):
        latest = page[-1]
    return latest.previous if latest else None


def delete(ledger: Ledger, message: Delete) -> None:
    """Delete an ended job; an unreadable one in any state."""
    try:
        job = ledger.find(message.job_id, message.caller)
    except JobUnreadable as error:
        _check_batch(ledger.store.batch_of(message.job_id), "delete")
        ledger.set_aside(error)
    else:
        if job.state not in TERMINAL:
            raise IllegalTransition("delete", job.state)
        _check_batch(job.batch_id, "delete")
    ledger.store.delete([message.job_id])


def requeued(ledger: Ledger, job: Job) -> Job:
    """Return the job as it is queued again.

    Raises:
        IllegalTransition: It has not failed, been cancelled or expired, or was retried too often.
        LineOfBatch: It is in a batch.
        QuotaExceeded: Its owner has too many jobs, or has used too many tokens.
        QueueFull: The queue has no room for it.
    """
    if job.state not in RETRIABLE:
        raise IllegalTransition("retry", job.state)
    _check_return(ledger, job, "retry")
    # A cancelled attempt does not tell how many events it has numbered.
    lost = job.state is State.CANCELLED and job.started_at is not None and job.endpoint == RESPONSES.path
    numbered = LOST if lost else 0
    if job.fence > LAST_RETRY:
        raise RetriedTooOften(job.id)
    return replace(
        job,
        fence=job.fence + numbered,
        state=State.QUEUED,
        attempt=0,
        since=ledger.now,
        ready_at=None,
        start_by=None,
        started_at=None,
        completed_at=None,
        expires_at=None,
        error=None,
        error_code=None,
    )


def uncancelled(ledger: Ledger, job: Job) -> Job:
    """Return a job that was cancelled while queued as it was before: in its place, with its times and attempts.

    Raises:
        IllegalTransition: It is not cancelled.
        LineOfBatch: It is in a batch.
        QuotaExceeded: Its owner has too many jobs, or has used too many tokens.
        QueueFull: The queue has no room for it.
    """
    if job.state is not State.CANCELLED:
        raise IllegalTransition("uncancel", job.state)
    _check_return(ledger, job, "uncancel")
    later = job.since if job.since > ledger.now else None  # a job that waits for its time is in the line since then
    return replace(job, state=State.QUEUED, ready_at=later, completed_at=None, expires_at=None)


def _check_return(ledger: Ledger, job: Job, action: str) -> None:
    """Raise LineOfBatch, QuotaExceeded or QueueFull unless an ended job may be queued again."""
    _check_batch(job.batch_id, action)
    _check_quota(ledger, job.owner)
    _check_room(ledger, [job.key])


def _check_batch(batch_id: str | None, action: str) -> None:
    """Raise LineOfBatch for a job of a batch: its end is counted, and its line may be written."""
    if batch_id is not None:
        raise LineOfBatch(action, batch_id)


def _check_quota(ledger: Ledger, owner: str, more: int = 0) -> None:
    """Raise QuotaExceeded unless a token's quota has room for one job besides `more` new ones."""
    if owner not in ledger.rules.quotas:
        return
    quotas.check_tokens(ledger, owner)
    if quotas.room(ledger, owner) <= more:
        claims.serve(ledger)  # what a free slot takes does not wait
        quotas.check_waiting(ledger, owner, more)


def _over_quota(ledger: Ledger, drafts: Sequence[Draft]) -> dict[int, ForemanError]:
    """Return the errors of the drafts for which a quota has no room, by their index."""
    if not ledger.rules.quotas:
        return {}
    added: Counter[str] = Counter()
    full: dict[str, QuotaExceeded] = {}
    refused: dict[int, ForemanError] = {}
    for index, draft in enumerate(drafts):
        if draft.owner not in full:
            try:
                _check_quota(ledger, draft.owner, added[draft.owner])
            except QuotaExceeded as error:
                full[draft.owner] = error
        if draft.owner in full:
            refused[index] = full[draft.owner]
        else:
            added[draft.owner] += 1
    return refused


def _check_room(ledger: Ledger, keys: Sequence[LoadKey]) -> None:
    """Raise QueueFull unless one job per key can be added."""
    board = ledger.outlook.board
    most = ledger.rules.max_queue
    if board.waiting + len(keys) > most:
        raise QueueFull(f"the queue is full: it takes {most} jobs", "the setting max_queue raises the limit")
    new_keys = {key for key in keys if key not in board}
    if new_keys and board.keys + len(new_keys) > LANES:
        raise QueueFull(f"{LANES} different models and load options are waiting", "use fewer different options")
