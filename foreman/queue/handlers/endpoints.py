"""The handlers of webhook endpoints, and the posting of events to them."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec.structs import replace
from ulid import ULID

from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import DeliveryNotFound, EndpointNotFound, JobNotFound, TooManyEndpoints
from foreman.domain.job import Job, State
from foreman.domain.responses.ids import response_id
from foreman.domain.responses.request import Wanted, wanted_of
from foreman.domain.webhooks.addresses import receiver_of
from foreman.domain.webhooks.endpoints import (
    EVENT_TYPES,
    MOST_ENDPOINTS,
    OLD_SECRET_FOR,
    EndpointDelivery,
    WebhookEndpoint,
    first_delivery,
    type_of,
)
from foreman.queue import outbox
from foreman.queue.endpoint_commands import AddEndpoint, ChangeEndpoint, DeleteEndpoint, RedeliverEvent, RotateSecret
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.results import COMPLETION

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Answer(msgspec.Struct):
    status: str | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def post(ledger: Ledger, *, owner: str, kind: str, subject: str) -> None:
    """Have the owner's endpoints told, by the transaction that is open, that a response or batch has ended.

    `kind` is one of EVENT_TYPES, `subject` the id. An endpoint that answered 410 about it is not told.
    """
    assert kind in EVENT_TYPES, kind
    told = [
        first_delivery(endpoint, f"evt_{ULID()}", kind, subject, now=ledger.now)
        for endpoint in ledger.store.webhook_endpoints(owner=owner, limit=MOST_ENDPOINTS)
        if kind in endpoint.event_types and not outbox.is_stopped(ledger.store, endpoint.id, subject)
    ]
    if told:
        ledger.store.put_endpoint_deliveries(told)
        ledger.redelivers = True


def post_to(ledger: Ledger, url: str, *, owner: str, kind: str, subject: str) -> None:
    """Have one URL told, by the transaction that is open, that a batch has ended: it is its own endpoint."""
    delivery = EndpointDelivery(
        id=f"evt_{ULID()}",
        endpoint_id=subject,
        type=kind,
        subject=subject,
        created_at=ledger.now,
        owner=owner,
        receiver=receiver_of(url),
        url=url,
        due_at=ledger.now,
    )
    ledger.store.put_endpoint_deliveries([delivery])
    ledger.redelivers = True


def post_ended(ledger: Ledger) -> None:
    """Post an event for each background response that the open transaction has ended."""
    told = dict[str, bool]()  # by owner
    for job in ledger.endings:
        if job.endpoint != RESPONSES.path or job.batch_id is not None:
            continue
        if job.owner not in told:
            told[job.owner] = bool(ledger.store.webhook_endpoints(owner=job.owner, limit=1))
        if told[job.owner] and _wanted(ledger, job).background:
            kind = type_of(job, {"status": _status(ledger, job)})
            post(ledger, owner=job.owner, kind=kind, subject=response_id(job.id))


def _wanted(ledger: Ledger, job: Job) -> Wanted:
    payload = ledger.store.content(job.id)
    with suppress(msgspec.DecodeError, RecursionError):
        return wanted_of(_fields(payload or b"{}"))
    return Wanted()


def _status(ledger: Ledger, job: Job) -> str | None:
    answer = ledger.store.content(job.id, COMPLETION) if job.state is State.DONE else None
    with suppress(msgspec.DecodeError, RecursionError):
        return _answer(answer).status if answer else None
    return "incomplete"  # as it is shown


def add(ledger: Ledger, message: AddEndpoint) -> WebhookEndpoint:
    """Add a webhook endpoint. Raise TooManyEndpoints."""
    if len(ledger.store.webhook_endpoints(owner=message.owner, limit=MOST_ENDPOINTS)) == MOST_ENDPOINTS:
        raise TooManyEndpoints(MOST_ENDPOINTS)
    endpoint = WebhookEndpoint(
        id=message.endpoint_id,
        owner=message.owner,
        name=message.name,
        url=message.url,
        event_types=tuple(message.event_types),
        secret=message.secret,
        created_at=ledger.now,
    )
    ledger.store.put_webhook_endpoint(endpoint)
    return endpoint


def change(ledger: Ledger, message: ChangeEndpoint) -> WebhookEndpoint:
    """Change what is given; what is due goes to the new URL, as it is signed for whom it belongs to."""
    before = _find(ledger, message.endpoint_id, message)
    endpoint = replace(
        before,
        name=before.name if message.name is None else message.name,
        url=before.url if message.url is None else message.url,
        event_types=before.event_types if message.event_types is None else tuple(message.event_types),
        updated_at=ledger.now,
    )
    ledger.store.put_webhook_endpoint(endpoint)
    if endpoint.url != before.url:
        ledger.store.redirect_deliveries(endpoint)
        ledger.redelivers = True
    return endpoint


def rotate(ledger: Ledger, message: RotateSecret) -> WebhookEndpoint:
    """Sign with a new secret from now on; a still older one than that before is forgotten."""
    before = _find(ledger, message.endpoint_id, message)
    endpoint = replace(
        before,
        secret=message.secret,
        old_secret=before.secret if message.keep_old else None,
        old_until=ledger.now + OLD_SECRET_FOR if message.keep_old else None,
        updated_at=ledger.now,
    )
    ledger.store.put_webhook_endpoint(endpoint)
    return endpoint


def delete(ledger: Ledger, message: DeleteEndpoint) -> None:
    """Delete a webhook endpoint with what is on its way to it."""
    ledger.store.delete_webhook_endpoint(_find(ledger, message.endpoint_id, message).id)


def redeliver(ledger: Ledger, message: RedeliverEvent) -> EndpointDelivery:
    """Make the delivery of an event due again, at the endpoint's present URL."""
    endpoint = _find(ledger, message.endpoint_id, message)
    delivery = ledger.store.endpoint_delivery(message.event_id)
    if delivery is None or delivery.endpoint_id != endpoint.id:
        raise DeliveryNotFound
    again = outbox.again(ledger.store, delivery, now=ledger.now)
    ledger.store.redirect_deliveries(endpoint)
    ledger.redelivers = True
    return replace(again, url=endpoint.url)


def _find(
    ledger: Ledger, endpoint_id: str, message: ChangeEndpoint | RotateSecret | DeleteEndpoint | RedeliverEvent
) -> WebhookEndpoint:
    """Return an endpoint that the caller may change.

    Raises:
        EndpointNotFound: There is none, or the caller may not see it.
        AdminRequired: It is another caller's.
    """
    endpoint = ledger.store.webhook_endpoint(endpoint_id)
    with suppress(JobNotFound):
        message.caller.check_owner(endpoint_id, endpoint.owner if endpoint else None)
        if endpoint is not None:
            return endpoint
    raise EndpointNotFound(endpoint_id)
