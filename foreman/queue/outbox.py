"""The outbox: the next state of a delivery, decided and written inside the queue's transaction."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from foreman.domain.errors import DeliveryNotFound
from foreman.domain.job import Delivery, DeliveryState, Instant
from foreman.domain.retry import Again, Backoff, Delivered, Sent, Stop, after_sending
from foreman.domain.webhooks.endpoints import AnyDelivery, EndpointDelivery
from foreman.store.protocol import Writer

D = TypeVar("D", Delivery, EndpointDelivery)

MOST_OF_ONE = 1000  # deliveries to one endpoint about one response; each has one, and another after each new start


def settle(
    store: Writer, delivery: AnyDelivery, sent: Sent, *, retries: int, backoff: Backoff, chance: float, now: Instant
) -> DeliveryState:
    """Store the outcome of an attempt and return the new state of its delivery.

    A delivery that was redelivered during the attempt stays due with all its retries.
    """
    stored = _stored(store, delivery)
    if stored is None or (stored.attempts, stored.due_at) != (delivery.attempts, delivery.due_at):
        return stored.state if stored else DeliveryState.STOPPED
    tried = replace(stored, attempts=delivery.attempts + 1, status=sent.status, error=sent.error)
    decision = after_sending(sent, attempts=tried.attempts, retries=retries, backoff=backoff, chance=chance)
    if isinstance(decision, Again):
        _put(store, replace(tried, due_at=now + decision.wait))
        return DeliveryState.DUE
    state = DeliveryState.DEAD
    if isinstance(decision, Delivered):
        state = DeliveryState.DELIVERED
    elif isinstance(decision, Stop):
        state = DeliveryState.STOPPED
        _stop(store, delivery, now)
    _put(store, replace(tried, state=state, ended_at=now))
    return state


def redeliver(store: Writer, job_id: str, seq: int, *, now: Instant) -> Delivery:
    """Make a delivery due again with all its retries. Raise DeliveryNotFound when there is none."""
    delivery = _find(store, job_id, seq)
    if delivery is None:
        raise DeliveryNotFound
    return again(store, delivery, now=now)


def again(store: Writer, delivery: D, *, now: Instant) -> D:
    """Make a stored delivery due again with all its retries."""
    due = replace(delivery, state=DeliveryState.DUE, attempts=0, due_at=now, ended_at=None)
    _put(store, due)
    return due


def is_stopped(store: Writer, endpoint_id: str, subject: str) -> bool:
    """Return True when an endpoint has answered 410 about a response or batch."""
    known = store.endpoint_deliveries(endpoint_id, subject=subject, limit=MOST_OF_ONE)
    return any(one.state is DeliveryState.STOPPED for one in known)


def _stop(store: Writer, delivery: AnyDelivery, now: Instant) -> None:
    """Stop all present and future deliveries of a job, or of an endpoint about one response or batch."""
    if isinstance(delivery, EndpointDelivery):
        known = store.endpoint_deliveries(delivery.endpoint_id, subject=delivery.subject, limit=MOST_OF_ONE)
        waiting = [one for one in known if one.state is DeliveryState.DUE]
        store.put_endpoint_deliveries([replace(one, state=DeliveryState.STOPPED, ended_at=now) for one in waiting])
        return
    due = [one for one in store.deliveries(delivery.job_id) if one.state is DeliveryState.DUE]
    store.put_deliveries([replace(one, state=DeliveryState.STOPPED, ended_at=now) for one in due])
    if (job := store.job(delivery.job_id)) is not None:
        store.put([replace(job, webhook_url=None)])


def _put(store: Writer, delivery: AnyDelivery) -> None:
    if isinstance(delivery, EndpointDelivery):
        store.put_endpoint_deliveries([delivery])
    else:
        store.put_deliveries([delivery])


def _stored(store: Writer, delivery: AnyDelivery) -> AnyDelivery | None:
    if isinstance(delivery, EndpointDelivery):
        return store.endpoint_delivery(delivery.id)
    return _find(store, delivery.job_id, delivery.seq)


def _find(store: Writer, job_id: str, seq: int) -> Delivery | None:
    """Return the delivery of one event of a job, or None when there is none."""
    found = store.deliveries(job_id, after=seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None
