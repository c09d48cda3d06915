"""Webhook endpoints: receivers that are told of the ends of a caller's background responses and batches."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from foreman.domain.job import Delivery, DeliveryState, Instant, Job, State
from foreman.domain.webhooks.addresses import receiver_of
from foreman.domain.webhooks.signature import PREFIX

ENDPOINT_ID = re.compile("whe_[0-7][0-9A-HJKMNP-TV-Z]{25}")
EVENT_ID = re.compile("evt_[0-7][0-9A-HJKMNP-TV-Z]{25}")
MOST_ENDPOINTS = 20  # per caller
KEY_BYTES = 32  # of a new secret
OLD_SECRET_FOR = 86400.0  # seconds for which a rotation may keep the secret before it

RESPONSE_COMPLETED = "response.completed"
RESPONSE_INCOMPLETE = "response.incomplete"
EVENT_TYPES = (
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    RESPONSE_COMPLETED,
    "response.failed",
    "response.cancelled",
    RESPONSE_INCOMPLETE,
)
_ENDS = {
    State.DONE: RESPONSE_COMPLETED,
    State.FAILED: "response.failed",
    State.EXPIRED: "response.failed",
    State.CANCELLED: "response.cancelled",
}


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of events of one caller."""

    id: str
    owner: str  # the name of the token that made it
    name: str
    url: str
    event_types: tuple[str, ...]
    secret: str  # whsec_ and padded base64
    old_secret: str | None = None  # of before the last rotation
    old_until: Instant | None = None  # until then each event is signed with the old secret too
    created_at: Instant
    updated_at: Instant | None = None

    def secrets(self, now: Instant) -> tuple[str, ...]:
        """Return what an event is signed with now, the newest first."""
        if self.old_secret is None or self.old_until is None or self.old_until <= now:
            return (self.secret,)
        return self.secret, self.old_secret


class EndpointDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint. It outlives what it tells of."""

    id: str  # of the event; each endpoint is told of one with an id of its own
    endpoint_id: str
    type: str
    subject: str  # the id of the response or the batch
    created_at: Instant
    owner: str
    receiver: str  # scheme://host:port
    url: str
    state: DeliveryState = DeliveryState.DUE
    attempts: int = 0
    due_at: Instant
    status: int | None = None  # of the last answer
    error: str | None = None
    ended_at: Instant | None = None

    @property
    def key(self) -> str:
        """Return what tells it from all other deliveries."""
        return self.id

    @property
    def group(self) -> str:
        """Return what the deliveries that are sent one by one, and stopped together, have in common."""
        return f"{self.endpoint_id} {self.subject}"

    @property
    def webhook_id(self) -> str:
        """Return the value of the header webhook-id."""
        return self.id


AnyDelivery: TypeAlias = Delivery | EndpointDelivery


def new_secret(key: bytes) -> str:
    """Return the secret of a key. It is padded: the openai SDK decodes it strictly."""
    return PREFIX + base64.b64encode(key).decode()


def hint_of(secret: str) -> str:
    """Return what a secret may be told by, and not guessed."""
    return f"{PREFIX}...{secret.rstrip('=')[-4:]}"


def first_delivery(
    endpoint: WebhookEndpoint, event_id: str, kind: str, subject: str, *, now: Instant
) -> EndpointDelivery:
    """Return the delivery, due at once, of an event."""
    return EndpointDelivery(
        id=event_id,
        endpoint_id=endpoint.id,
        type=kind,
        subject=subject,
        created_at=now,
        owner=endpoint.owner,
        receiver=receiver_of(endpoint.url),
        url=endpoint.url,
        due_at=now,
    )


def body_of(delivery: EndpointDelivery) -> bytes:
    """Return the body of an event's webhook: what ended, and not its result."""
    return msgspec.json.encode(
        {
            "object": "event",
            "id": delivery.id,
            "type": delivery.type,
            "created_at": int(delivery.created_at),
            "data": {"id": delivery.subject},
        }
    )


def type_of(job: Job, answer: Mapping[str, object] | None) -> str:
    """Return the type of the event of a response that has ended; `answer` is its target's, if it has one."""
    kind = _ENDS[job.state]
    if kind == RESPONSE_COMPLETED and answer and answer.get("status", "completed") not in ("completed", None):
        return RESPONSE_INCOMPLETE
    return kind
