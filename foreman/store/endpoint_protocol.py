"""The part of the protocol of storage engines that is about webhook endpoints and what is on its way to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foreman.domain.job import Instant
from foreman.domain.webhooks.endpoints import EndpointDelivery, WebhookEndpoint


class EndpointReader(Protocol):
    """The reads of webhook endpoints."""

    def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint, or None when there is none."""

    def webhook_endpoints(
        self, *, owner: str | None = None, after: str | None = None, limit: int
    ) -> list[WebhookEndpoint]:
        """Return up to `limit` webhook endpoints after the one with the id `after`, the newest first."""

    def endpoint_delivery(self, event_id: str) -> EndpointDelivery | None:
        """Return the delivery of an event to an endpoint, or None when there is none."""

    def endpoint_deliveries(
        self, endpoint_id: str, *, after: str | None = None, subject: str | None = None, limit: int
    ) -> list[EndpointDelivery]:
        """Return up to `limit` deliveries to an endpoint after the one with the id `after`, the newest first.

        With `subject`, those about one response or batch.
        """


class EndpointWriter(EndpointReader, Protocol):
    """The writes of webhook endpoints."""

    def put_webhook_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Write a webhook endpoint, a new one or a changed one."""

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Delete a webhook endpoint with what is on its way to it."""

    def put_endpoint_deliveries(self, deliveries: Sequence[EndpointDelivery]) -> None:
        """Write deliveries to endpoints, new ones and changed ones."""

    def redirect_deliveries(self, endpoint: WebhookEndpoint) -> None:
        """Have what is due at an endpoint go to its present URL."""

    def prune_endpoint_deliveries(self, before: Instant, limit: int) -> int:
        """Delete up to `limit` deliveries to endpoints that ended before then, and return their number."""
