"""Views of webhook endpoints, as OpenAI's API shows them, and of what is on its way to them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.job import DeliveryState, Instant
from foreman.domain.views.kinds import schema
from foreman.domain.webhooks.endpoints import EVENT_TYPES, EndpointDelivery, WebhookEndpoint, hint_of


class OpenAIWebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook endpoint. Times are seconds since the epoch; `signing_secret` is shown when it is made."""

    id: str
    object: Annotated[str, schema(enum=["webhook_endpoint"])]
    name: str
    url: str
    event_types: list[Annotated[str, schema(enum=list(EVENT_TYPES))]]
    created_at: int
    updated_at: int | None
    signing_secret_hint: str
    signing_secret: str | None = None


class OpenAIWebhookEndpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A page of webhook endpoints, the newest first."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[OpenAIWebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class OpenAIWebhookEndpointDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook endpoint that was deleted."""

    id: str
    object: Annotated[str, schema(enum=["webhook_endpoint.deleted"])] = "webhook_endpoint.deleted"
    deleted: bool = True


class OpenAIWebhookEndpointTest(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a test that the receiver accepted."""

    object: Annotated[str, schema(enum=["webhook_endpoint.test"])] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: bool = True


class OpenAIWebhookEventTypes(msgspec.Struct, frozen=True, kw_only=True):
    """The types of events that endpoints may ask for."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[str]


class EventDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery of one event to a webhook endpoint. Times are seconds since the epoch."""

    id: str
    object: Annotated[str, schema(enum=["webhook_endpoint.delivery"])] = "webhook_endpoint.delivery"
    webhook_endpoint_id: str
    type: str
    data_id: str
    url: str
    state: DeliveryState
    attempts: int
    created_at: int
    due_at: int
    status: int | None
    error: str | None
    ended_at: int | None


class EventDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the deliveries to a webhook endpoint, the newest first."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[EventDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool


def show_endpoint(endpoint: WebhookEndpoint, *, secret: bool = False) -> OpenAIWebhookEndpoint:
    """Return the view of a webhook endpoint, with its secret if that is new."""
    return OpenAIWebhookEndpoint(
        id=endpoint.id,
        object="webhook_endpoint",
        name=endpoint.name,
        url=endpoint.url,
        event_types=list(endpoint.event_types),
        created_at=int(endpoint.created_at),
        updated_at=_whole(endpoint.updated_at),
        signing_secret_hint=hint_of(endpoint.secret),
        signing_secret=endpoint.secret if secret else None,
    )


def show_endpoints(endpoints: list[WebhookEndpoint], *, has_more: bool) -> OpenAIWebhookEndpoints:
    """Return the view of a page of webhook endpoints."""
    shown = [show_endpoint(one) for one in endpoints]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return OpenAIWebhookEndpoints(data=shown, first_id=first, last_id=last, has_more=has_more)


def show_event_delivery(delivery: EndpointDelivery) -> EventDelivery:
    """Return the view of the delivery of an event."""
    return EventDelivery(
        id=delivery.id,
        webhook_endpoint_id=delivery.endpoint_id,
        type=delivery.type,
        data_id=delivery.subject,
        url=delivery.url,
        state=delivery.state,
        attempts=delivery.attempts,
        created_at=int(delivery.created_at),
        due_at=int(delivery.due_at),
        status=delivery.status,
        error=delivery.error,
        ended_at=_whole(delivery.ended_at),
    )


def show_event_deliveries(deliveries: list[EndpointDelivery], *, has_more: bool) -> EventDeliveries:
    """Return the view of a page of deliveries of events."""
    shown = [show_event_delivery(one) for one in deliveries]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return EventDeliveries(data=shown, first_id=first, last_id=last, has_more=has_more)


def _whole(at: Instant | None) -> int | None:
    return None if at is None else int(at)
