"""The OpenAPI description of /v1/webhook_endpoints."""

from __future__ import annotations

import re
from typing import Any

from foreman.domain.json_schema import TEXT, words
from foreman.domain.webhooks.endpoints import ENDPOINT_ID, EVENT_ID, EVENT_TYPES
from foreman.http.compat.webhook_endpoints import LISTED, LONGEST_NAME, LONGEST_URL, MOST_LISTED
from foreman.http.openapi.blocks import JSON, OPENAI, Paths, given, operation, path, query
from foreman.http.openapi.codes import BODY, WRITE
from foreman.http.openapi.schemas import ref

ONE = ("webhook_endpoint_not_found", "not_found")
READ = ("store_busy", "store_away", "store_lost")
CHANGED = (*BODY, "invalid_json", "wrong_content_type", "field_invalid", "webhook_refused", "shortage", *WRITE)
FIELDS = {
    "name": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^[^\\u0000]*$"},
    "url": {"type": "string", "maxLength": LONGEST_URL},
    "event_types": {"type": "array", "items": words(*EVENT_TYPES), "minItems": 1},
}


def _page(ids: re.Pattern[str]) -> list[dict[str, Any]]:
    return [
        query("after", TEXT | {"pattern": f"^{ids.pattern}$"}, "Those older than the one with this id."),
        query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}, f"{LISTED} by default."),
    ]


def _fields(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    demanded = {"required": list(required)} if required else {}
    return {JSON: {"type": "object", "properties": properties, **demanded}}


def endpoint_paths() -> Paths:
    """Describe the routes of webhook endpoints."""

    def about(name: str, summary: str, answer: dict[str, Any], *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, answer, errors, dialect=OPENAI, **more)

    one = [path("endpoint_id", TEXT | {"pattern": f"^{ENDPOINT_ID.pattern}$"})]
    event = path("event_id", TEXT | {"pattern": f"^{EVENT_ID.pattern}$"})
    shown = {"200": given(ref("OpenAIWebhookEndpoint"))}
    rotation = {"keep_old_secret_active_for_24_hours": {"type": "boolean"}}
    root = "/v1/webhook_endpoints"
    paths: Paths = {
        "/v1/webhook_event_types": {
            "get": about("webhook_event_types", "List event types", {"200": given(ref("OpenAIWebhookEventTypes"))}),
        },
        root: {
            "post": about(
                "create_webhook_endpoint",
                "Create a webhook endpoint",
                shown,
                "too_many_webhook_endpoints",
                *CHANGED,
                body=_fields(FIELDS, *FIELDS),
                description="Only this answer, and that of a rotation, shows `signing_secret`.",
            ),
            "get": about(
                "webhook_endpoints",
                "List webhook endpoints, newest first",
                {"200": given(ref("OpenAIWebhookEndpoints"))},
                "field_invalid",
                *READ,
                parameters=_page(ENDPOINT_ID),
            ),
        },
        f"{root}/{{endpoint_id}}": {
            "parameters": one,
            "get": about("webhook_endpoint", "Show a webhook endpoint", shown, *ONE, *READ),
            "post": about(
                "update_webhook_endpoint",
                "Change a webhook endpoint",
                shown,
                "admin_required",
                *ONE,
                *CHANGED,
                body=_fields(FIELDS),
            ),
            "delete": about(
                "delete_webhook_endpoint",
                "Delete a webhook endpoint",
                {"200": given(ref("OpenAIWebhookEndpointDeleted"))},
                "admin_required",
                *ONE,
                *WRITE,
            ),
        },
        f"{root}/{{endpoint_id}}/rotate_secret": {
            "parameters": one,
            "post": about(
                "rotate_webhook_secret",
                "Give a webhook endpoint a new secret",
                shown,
                "admin_required",
                "invalid_json",
                "field_invalid",
                *ONE,
                *BODY,
                *WRITE,
                body=_fields(rotation),
            ),
        },
        f"{root}/{{endpoint_id}}/test": {
            "parameters": one,
            "post": about(
                "test_webhook_endpoint",
                "Send a test event to a webhook endpoint",
                {"200": given(ref("OpenAIWebhookEndpointTest"))},
                "admin_required",
                "webhook_test_failed",
                "invalid_json",
                "wrong_content_type",
                "field_invalid",
                *ONE,
                *BODY,
                *READ,
                body=_fields({"event_type": words(*EVENT_TYPES)}, "event_type"),
            ),
        },
        f"{root}/{{endpoint_id}}/deliveries": {
            "parameters": one,
            "get": about(
                "event_deliveries",
                "List the deliveries to a webhook endpoint, newest first",
                {"200": given(ref("EventDeliveries"))},
                "field_invalid",
                *ONE,
                *READ,
                parameters=_page(EVENT_ID),
            ),
        },
        f"{root}/{{endpoint_id}}/deliveries/{{event_id}}/redeliver": {
            "parameters": [*one, event],
            "post": about(
                "redeliver_event",
                "Deliver an event to a webhook endpoint again",
                {"202": given(ref("EventDelivery"))},
                "admin_required",
                "delivery_not_found",
                *ONE,
                *WRITE,
            ),
        },
    }
    paths[f"{root}/{{endpoint_id}}/rotate_secret"]["post"]["requestBody"]["required"] = False
    return paths
