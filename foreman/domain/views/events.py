"""Views of events, and of the webhooks that carry them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from foreman.domain.job import TERMINAL, JobEvent, State
from foreman.domain.job import Delivery as StoredDelivery
from foreman.domain.job import Job as StoredJob
from foreman.domain.views.jobs import Artifact
from foreman.domain.views.kinds import Count, DeliveryStateName, Metadata, Moment, Previous, about, moment, schema


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a job's state."""

    type: Annotated[str, schema(enum=["state"])] = "state"
    seq: Count
    job_id: str
    state: State
    previous_state: Annotated[Previous, about("Empty for a new job.")] = ""
    timestamp: Moment
    model: str = ""
    attempt: Count = 0
    error: str | None = None
    custom_id: str | None = None
    target: Annotated[str | None, about("Of the latest attempt.")] = None

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL


class Events(msgspec.Struct, frozen=True):
    """A page of the events of one job, oldest first."""

    events: list[Event]
    next: Annotated[Count | None, about("Pass as `after`; null at the end.")] = None


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first message of the feed."""

    type: Annotated[str, schema(enum=["hello"])] = "hello"
    seq: Annotated[Count, about("Of the newest event.")]
    oldest: Annotated[Count, about("The `seq` of the oldest event that is kept.")]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook: one event."""

    job_id: str
    state: State
    previous_state: Annotated[Previous, about("Empty for a new job.")] = ""
    timestamp: Moment
    model: str
    attempt: Count
    error: str | None = None
    seq: Annotated[Count, about("Grows from event to event.")]
    custom_id: str | None = None
    metadata: Metadata | None = None
    target: Annotated[str | None, about("Of the latest attempt.")] = None
    result: Annotated[Any, about("The answer of a done job; a large one is only in the artifact `completion`.")] = None
    artifacts: list[Artifact] | None = None

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL


class Delivery(msgspec.Struct, frozen=True):
    """The webhook of one event."""

    delivery_id: str
    seq: Annotated[Count, about("Of the event.")]
    url: str
    state: Annotated[DeliveryStateName, about("dead: the last retry failed. stopped: the receiver answered 410.")]
    attempts: Count
    due_at: Moment
    status: Annotated[Count | None, about("Of the last answer.")] = None
    error: str | None = None
    ended_at: Moment | None = None


class Deliveries(msgspec.Struct, frozen=True):
    """A page of the webhook deliveries of one job, oldest first."""

    deliveries: list[Delivery]
    next: Annotated[Count | None, about("Pass as `after`; null at the end.")] = None


def show_event(event: JobEvent) -> Event:
    """Return an event as the feed shows it."""
    return Event(
        seq=event.seq,
        job_id=event.job_id,
        state=event.state,
        previous_state=event.previous or "",
        timestamp=moment(event.at),
        model=event.model,
        attempt=event.attempt,
        error=event.error,
        custom_id=event.custom_id,
        target=event.target,
    )


def show_webhook(event: JobEvent, job: StoredJob, *, result: Any, artifacts: list[Artifact] | None) -> Webhook:
    """Return the body of a webhook."""
    return Webhook(
        job_id=job.id,
        state=event.state,
        previous_state=event.previous or "",
        timestamp=moment(event.at),
        model=job.model,
        attempt=event.attempt,
        error=event.error if event.state is State.FAILED else None,
        seq=event.seq,
        custom_id=job.custom_id,
        metadata=job.metadata,
        target=event.target,
        result=result,
        artifacts=artifacts,
    )


def show_delivery(delivery: StoredDelivery) -> Delivery:
    """Return a webhook delivery as lists show it."""
    return Delivery(
        delivery_id=str(delivery.seq),
        seq=delivery.seq,
        url=delivery.url,
        state=delivery.state,
        attempts=delivery.attempts,
        due_at=moment(delivery.due_at),
        status=delivery.status,
        error=delivery.error,
        ended_at=moment(delivery.ended_at),
    )
