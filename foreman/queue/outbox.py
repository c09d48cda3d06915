"""The outbox: the next state of a delivery, decided and written inside the queue's transaction."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.domain.errors import DeliveryNotFound
from foreman.domain.job import Delivery, DeliveryState, Instant
from foreman.domain.retry import Again, Backoff, Delivered, Sent, Stop, after_sending
from foreman.store.protocol import Writer


def settle(
    store: Writer, delivery: Delivery, sent: Sent, *, retries: int, backoff: Backoff, chance: float, now: Instant
) -> DeliveryState:
    """Store the outcome of an attempt and return the new state of its delivery.

    A delivery that was redelivered during the attempt stays due with all its retries.
    """
    stored = _find(store, delivery.job_id, delivery.seq)
    if stored is None or (stored.attempts, stored.due_at) != (delivery.attempts, delivery.due_at):
        return stored.state if stored else DeliveryState.STOPPED
    tried = replace(delivery, attempts=delivery.attempts + 1, status=sent.status, error=sent.error)
    decision = after_sending(sent, attempts=tried.attempts, retries=retries, backoff=backoff, chance=chance)
    if isinstance(decision, Again):
        store.put_deliveries([replace(tried, due_at=now + decision.wait)])
        return DeliveryState.DUE
    state = DeliveryState.DEAD
    if isinstance(decision, Delivered):
        state = DeliveryState.DELIVERED
    elif isinstance(decision, Stop):
        state = DeliveryState.STOPPED
        _stop(store, delivery.job_id, now)
    store.put_deliveries([replace(tried, state=state, ended_at=now)])
    return state


def redeliver(store: Writer, job_id: str, seq: int, *, now: Instant) -> Delivery:
    """Make a delivery due again with all its retries. Raise DeliveryNotFound when there is none."""
    delivery = _find(store, job_id, seq)
    if delivery is None:
        raise DeliveryNotFound
    again = replace(delivery, state=DeliveryState.DUE, attempts=0, due_at=now, ended_at=None)
    store.put_deliveries([again])
    return again


def _stop(store: Writer, job_id: str, now: Instant) -> None:
    """Stop all present and future deliveries of a job."""
    due = [one for one in store.deliveries(job_id) if one.state is DeliveryState.DUE]
    store.put_deliveries([replace(one, state=DeliveryState.STOPPED, ended_at=now) for one in due])
    if (job := store.job(job_id)) is not None:
        store.put([replace(job, webhook_url=None)])


def _find(store: Writer, job_id: str, seq: int) -> Delivery | None:
    """Return the delivery of one event of a job, or None when there is none."""
    found = store.deliveries(job_id, after=seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None
