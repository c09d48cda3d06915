"""The handlers of what callers ask of jobs: submit, cancel, retry, delete. Each decides first and writes last."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from foreman.domain.errors import IdempotencyMismatch, IllegalTransition, JobUnreadable, QueueFull
from foreman.domain.job import RETRIABLE, TERMINAL, Job, LoadKey, State
from foreman.queue.commands import Accepted, Cancel, Delete, Retry, Submit, SubmitMany
from foreman.queue.handlers.ledger import Ledger

LANES = 1000  # different load keys that may wait at once


def submit(ledger: Ledger, message: Submit) -> Accepted:
    """Add a job, or return the one that its caller submitted under the same idempotency key."""
    draft, outlook, now = message.draft, ledger.refreshed(), ledger.now
    if draft.idempotency_key and (known := ledger.store.by_idempotency_key(draft.owner, draft.idempotency_key)):
        job, fingerprint = known
        if fingerprint not in draft.fingerprints:
            raise IdempotencyMismatch
        return Accepted(job, outlook.of(ledger.store, job, now).position)
    if draft.refusal is not None:
        raise draft.refusal
    _check_room(ledger, [draft.key])
    # While more claims wait than jobs, it is claimed at once; a position is work that nobody would look at.
    position = outlook.of_next(draft, now) if len(ledger.claims) <= outlook.board.ready else None
    [job] = ledger.add([draft])
    return Accepted(job, position)


def submit_many(ledger: Ledger, message: SubmitMany) -> None:
    """Add all of the drafts, or none."""
    _check_room(ledger, [draft.key for draft in message.drafts])
    ledger.add(message.drafts)


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
    if job.state not in RETRIABLE:
        raise IllegalTransition("retry", job.state)
    _check_room(ledger, [job.key])
    fresh = replace(
        job,
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
    outlook = ledger.refreshed()
    expected = outlook.of_retried(fresh, ledger.now, up=not outlook.paused)
    return Accepted(ledger.put(fresh, job), expected.position, expected.seconds)


def delete(ledger: Ledger, message: Delete) -> None:
    """Delete an ended job; an unreadable one in any state."""
    try:
        job = ledger.find(message.job_id, message.caller)
    except JobUnreadable as error:
        ledger.set_aside(error)
    else:
        if job.state not in TERMINAL:
            raise IllegalTransition("delete", job.state)
    ledger.store.delete([message.job_id])


def _check_room(ledger: Ledger, keys: Sequence[LoadKey]) -> None:
    """Raise QueueFull unless one job per key can be added."""
    board = ledger.outlook.board
    most = ledger.rules.max_queue
    if board.waiting + len(keys) > most:
        raise QueueFull(f"the queue is full: it takes {most} jobs", "the setting max_queue raises the limit")
    new_keys = {key for key in keys if key not in board}
    if new_keys and board.keys + len(new_keys) > LANES:
        raise QueueFull(f"{LANES} different models and load options are waiting", "use fewer different options")
