"""The outbox: what becomes of a delivery, decided and written inside the desk's transaction."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.errors import DeliveryNotFound
from foreman.job import Delivery, DeliveryState, Instant
from foreman.retry import Again, Backoff, Delivered, Sent, Stop, after_sending
from foreman.store.protocol import Writer


def settle(
    store: Writer, delivery: Delivery, sent: Sent, *, retries: int, backoff: Backoff, chance: float, now: Instant
) -> bool:
    """Write how an attempt ended; whether there will be another."""
    tried = replace(delivery, attempts=delivery.attempts + 1, status=sent.status, error=sent.error)
    what = after_sending(sent, attempts=tried.attempts, retries=retries, backoff=backoff, chance=chance)
    if isinstance(what, Again):
        store.settle(replace(tried, due_at=now + what.wait))
        return True
    state = DeliveryState.DEAD
    if isinstance(what, Delivered):
        state = DeliveryState.DELIVERED
    elif isinstance(what, Stop):
        state = DeliveryState.STOPPED
        store.stop_deliveries(delivery.job_id, now=now)
    store.settle(replace(tried, state=state, ended_at=now))
    return False


def redeliver(store: Writer, job_id: str, seq: int, *, now: Instant) -> Delivery:
    """Make a delivery due again, with all its retries. Raises DeliveryNotFound."""
    for delivery in store.deliveries(job_id):
        if delivery.seq == seq:
            again = replace(delivery, state=DeliveryState.DUE, attempts=0, due_at=now, ended_at=None)
            store.settle(again)
            return again
    raise DeliveryNotFound
