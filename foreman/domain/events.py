"""The records of the event log: what each transition says, and which webhooks carry it."""

from __future__ import annotations

from foreman.domain.job import Delivery, DeliveryState, Instant, Job, JobEvent, State, check_transition
from foreman.domain.webhooks.addresses import receiver_of


def submitted(job: Job, *, seq: int) -> JobEvent:
    """Return the first event of a job."""
    return _event(seq, job, job.state, None, job.created_at)


def changed(job: Job, previous: State, now: Instant, *, seq: int) -> list[JobEvent]:
    """Return the events of a job that goes from `previous` to its state, from `seq` on.

    A start of a loaded model is two. Raise IllegalTransition when the job may not go there.
    """
    if previous is State.QUEUED and job.state is State.WORKING:
        loading = _event(seq, job, State.LOADING, State.QUEUED, now)
        return [loading, _event(seq + 1, job, State.WORKING, State.LOADING, now)]
    check_transition("change", previous, job.state)
    return [_event(seq, job, job.state, previous, now)]


def unreadable(job_id: str, error: str, *, attempt: int, now: Instant, seq: int) -> JobEvent:
    """Return the event of a waiting job that failed because it cannot be read."""
    return JobEvent(
        seq=seq,
        job_id=job_id,
        state=State.FAILED,
        previous=State.QUEUED,
        at=now,
        model="",
        attempt=attempt,
        error=error,
    )


def first_delivery(event: JobEvent, url: str) -> Delivery:
    """Return the delivery, due at once, of an event that webhooks carry."""
    return Delivery(
        seq=event.seq,
        job_id=event.job_id,
        receiver=receiver_of(url),
        url=url,
        state=DeliveryState.DUE,
        attempts=0,
        due_at=event.at,
        owner=event.owner,
    )


def _event(seq: int, job: Job, state: State, previous: State | None, at: Instant) -> JobEvent:
    return JobEvent(
        seq=seq,
        job_id=job.id,
        state=state,
        previous=previous,
        at=at,
        model=job.model,
        attempt=job.attempt,
        error=job.error,
        custom_id=job.custom_id,
        owner=job.owner,
        target=job.target,
        posted=job.webhook_url is not None and (job.webhook_events is None or state in job.webhook_events),
    )
