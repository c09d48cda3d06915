"""The commands about webhook endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foreman.domain.caller import FOREMAN, Caller
from foreman.domain.webhooks.endpoints import EndpointDelivery, WebhookEndpoint
from foreman.queue.commands import Message


@dataclass(slots=True)
class AddEndpoint(Message[WebhookEndpoint]):
    """Add a webhook endpoint; its URL was judged."""

    endpoint_id: str
    owner: str
    name: str
    url: str
    event_types: Sequence[str]
    secret: str


@dataclass(slots=True)
class ChangeEndpoint(Message[WebhookEndpoint]):
    """Change what is given of a webhook endpoint."""

    endpoint_id: str
    name: str | None = None
    url: str | None = None
    event_types: Sequence[str] | None = None
    caller: Caller = FOREMAN


@dataclass(slots=True)
class RotateSecret(Message[WebhookEndpoint]):
    """Sign with a new secret, and for a day with the old one too if it is to be kept."""

    endpoint_id: str
    secret: str
    keep_old: bool = False
    caller: Caller = FOREMAN


@dataclass(slots=True)
class DeleteEndpoint(Message[None]):
    """Delete a webhook endpoint with what is on its way to it."""

    endpoint_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class RedeliverEvent(Message[EndpointDelivery]):
    """Deliver an event to its endpoint again, in any state of the delivery."""

    endpoint_id: str
    event_id: str
    caller: Caller = FOREMAN
