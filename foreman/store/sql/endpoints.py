"""The SQL of webhook endpoints and what is on its way to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import DeliveryState, Instant
from foreman.domain.webhooks.addresses import receiver_of
from foreman.domain.webhooks.endpoints import EndpointDelivery, WebhookEndpoint
from foreman.store.sql.statements import Statements

ENDPOINT = "id, owner, name, url, event_types, secret, old_secret, old_until, created_at, updated_at"
OR_CHANGE_ENDPOINT = f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in ENDPOINT.split(', '))}"
ENDPOINT_DELIVERY = (
    "id, endpoint_id, type, subject, created_at, owner, receiver, url, state, attempts, due_at, status, error, ended_at"
)
_CHANGES = ("receiver", "url", "state", "attempts", "due_at", "status", "error", "ended_at")
OR_CHANGE_ENDPOINT_DELIVERY = f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in _CHANGES)}"

_decode_types = msgspec.json.Decoder(tuple[str, ...]).decode


class EndpointReads:
    """The reads of webhook endpoints."""

    _sql: Statements

    def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint, or None when there is none."""
        rows = self._sql.rows(f"SELECT {ENDPOINT} FROM webhook_endpoints WHERE id = ?", (endpoint_id,))
        return _endpoint(rows[0]) if rows else None

    def webhook_endpoints(
        self, *, owner: str | None = None, after: str | None = None, limit: int
    ) -> list[WebhookEndpoint]:
        """Return up to `limit` webhook endpoints after the one with the id `after`, the newest first."""
        tests, values = ["id > ''"], list[object]()
        for test, value in (("owner = ?", owner), ("id < ?", after)):
            if value is not None:
                tests.append(test)
                values.append(value)
        sql = f"SELECT {ENDPOINT} FROM webhook_endpoints WHERE {' AND '.join(tests)} ORDER BY id DESC LIMIT ?"
        return [_endpoint(row) for row in self._sql.rows(sql, (*values, limit))]

    def endpoint_delivery(self, event_id: str) -> EndpointDelivery | None:
        """Return the delivery of an event to an endpoint, or None when there is none."""
        rows = self._sql.rows(f"SELECT {ENDPOINT_DELIVERY} FROM endpoint_deliveries WHERE id = ?", (event_id,))
        return read_endpoint_delivery(rows[0]) if rows else None

    def endpoint_deliveries(
        self, endpoint_id: str, *, after: str | None = None, subject: str | None = None, limit: int
    ) -> list[EndpointDelivery]:
        """Return up to `limit` deliveries to an endpoint after the one with the id `after`, the newest first."""
        tests, values = ["endpoint_id = ?"], list[object]([endpoint_id])
        for test, value in (("id < ?", after), ("subject = ?", subject)):
            if value is not None:
                tests.append(test)
                values.append(value)
        sql = f"""SELECT {ENDPOINT_DELIVERY} FROM endpoint_deliveries WHERE {" AND ".join(tests)}
                  ORDER BY id DESC LIMIT ?"""
        return [read_endpoint_delivery(row) for row in self._sql.rows(sql, (*values, limit))]


class EndpointWrites(EndpointReads):
    """The writes of webhook endpoints."""

    def put_webhook_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Write a webhook endpoint, a new one or a changed one."""
        row = (
            endpoint.id,
            endpoint.owner,
            endpoint.name,
            endpoint.url,
            msgspec.json.encode(endpoint.event_types).decode(),
            endpoint.secret,
            endpoint.old_secret,
            endpoint.old_until,
            endpoint.created_at,
            endpoint.updated_at,
        )
        self._sql.insert("webhook_endpoints", ENDPOINT, [row], OR_CHANGE_ENDPOINT)

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Delete a webhook endpoint with what is on its way to it."""
        self._sql.run("DELETE FROM endpoint_deliveries WHERE endpoint_id = ?", (endpoint_id,))
        self._sql.run("DELETE FROM webhook_endpoints WHERE id = ?", (endpoint_id,))

    def put_endpoint_deliveries(self, deliveries: Sequence[EndpointDelivery]) -> None:
        """Write deliveries to endpoints, new ones and changed ones."""
        rows = [tuple(getattr(one, column) for column in ENDPOINT_DELIVERY.split(", ")) for one in deliveries]
        self._sql.insert("endpoint_deliveries", ENDPOINT_DELIVERY, rows, OR_CHANGE_ENDPOINT_DELIVERY)

    def redirect_deliveries(self, endpoint: WebhookEndpoint) -> None:
        """Have what is due at an endpoint go to its present URL."""
        self._sql.run(
            "UPDATE endpoint_deliveries SET url = ?, receiver = ? WHERE endpoint_id = ? AND state = 'due'",
            (endpoint.url, receiver_of(endpoint.url), endpoint.id),
        )

    def prune_endpoint_deliveries(self, before: Instant, limit: int) -> int:
        """Delete up to `limit` deliveries to endpoints that ended before then, and return their number."""
        sql = (
            "SELECT id FROM endpoint_deliveries WHERE ended_at IS NOT NULL AND ended_at <= ? ORDER BY ended_at LIMIT ?"
        )
        ids = self._sql.rows(sql, (before, limit))
        self._sql.run_each("DELETE FROM endpoint_deliveries WHERE id = ?", ids)
        return len(ids)


def read_endpoint_delivery(row: tuple[Any, ...]) -> EndpointDelivery:
    """Return a row of ENDPOINT_DELIVERY as an EndpointDelivery. Raise JobUnreadable."""
    fields = dict(zip(ENDPOINT_DELIVERY.split(", "), row, strict=True))
    try:
        return msgspec.convert(fields | {"state": DeliveryState(fields["state"])}, EndpointDelivery)
    except (ValueError, msgspec.ValidationError) as error:
        raise JobUnreadable(str(row[3]), f"its event {row[0]} ({error})") from error


def _endpoint(row: tuple[Any, ...]) -> WebhookEndpoint:
    id, owner, name, url, event_types, secret, old_secret, old_until, created_at, updated_at = row
    return WebhookEndpoint(
        id=id,
        owner=owner,
        name=name,
        url=url,
        event_types=_decode_types(event_types),
        secret=secret,
        old_secret=old_secret,
        old_until=old_until,
        created_at=created_at,
        updated_at=updated_at,
    )
