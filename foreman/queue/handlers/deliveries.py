"""The handlers of webhook deliveries."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.domain.job import Delivery, DeliveryState
from foreman.domain.webhooks.endpoints import EndpointDelivery
from foreman.queue import outbox
from foreman.queue.commands import DeliveryEnded, Redeliver
from foreman.queue.handlers.ledger import Ledger


def delivery_ended(ledger: Ledger, message: DeliveryEnded) -> None:
    """Store the outcome of one attempt to deliver."""
    rules = ledger.rules
    state = outbox.settle(
        ledger.store,
        message.delivery,
        message.sent,
        retries=rules.webhook_retries,
        backoff=rules.webhook_backoff,
        chance=ledger.chance(),
        now=ledger.now,
    )
    ledger.redelivers |= state is DeliveryState.DUE
    delivery = message.delivery
    if isinstance(delivery, EndpointDelivery) or state is not DeliveryState.STOPPED:
        return
    if job := ledger.running.get(delivery.job_id):
        ledger.running[job.id] = replace(job, webhook_url=None)


def redeliver(ledger: Ledger, message: Redeliver) -> Delivery:
    """Make a delivery due again."""
    ledger.find(message.job_id, message.caller)
    again = outbox.redeliver(ledger.store, message.job_id, message.seq, now=ledger.now)
    ledger.redelivers = True
    return again
