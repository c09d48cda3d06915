"""The OpenAPI description of /v1/messages/batches."""

from __future__ import annotations

from typing import Any

from foreman.domain.batch_kinds.anthropic import Anthropic
from foreman.domain.batch_kinds.message_requests import CUSTOM_ID
from foreman.domain.json_schema import TEXT, Schema
from foreman.domain.views.message_batches import MESSAGE_BATCHES
from foreman.http.compat.message_batches import JSONL, LISTED, MOST_LISTED
from foreman.http.openapi.batches import BATCH, CANCEL
from foreman.http.openapi.blocks import ANTHROPIC, CALLER, JSON, Paths, answered, given, operation, path, query
from foreman.http.openapi.codes import BODY, WRITE
from foreman.http.openapi.schemas import ref

REQUEST: Schema = {
    "type": "object",
    "required": ["custom_id", "params"],
    "properties": {
        "custom_id": TEXT | {"pattern": f"^{CUSTOM_ID.pattern}$"},
        "params": {"type": "object", "description": "A body of /v1/messages, which does not stream."},
    },
}
NEW: Schema = {
    "type": "object",
    "required": ["requests"],
    "properties": {
        "requests": {"type": "array", "items": REQUEST, "minItems": 1, "maxItems": Anthropic.most_lines},
    },
}
ONE = ("batch_not_found", "not_found")


def message_batch_paths() -> Paths:
    """Describe the routes of message batches."""

    def about(name: str, summary: str, answer: dict[str, Any], *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, {"200": answer}, errors, dialect=ANTHROPIC, **more)

    one = [path("batch_id", BATCH)]
    batch = given(ref("MessageBatch"))
    return {
        MESSAGE_BATCHES: {
            "post": about(
                "create_message_batch",
                "Make a batch of messages",
                batch,
                *BODY,
                "invalid_json",
                "field_invalid",
                "rate_limited",
                "quota_exceeded",
                "blobs_unavailable",
                *WRITE,
                body={JSON: NEW},
                parameters=[CALLER],
                description="What is wrong with `params` is found later, and is the result of that request.",
            ),
            "get": about(
                "message_batches",
                "List batches of messages, newest first",
                given(ref("MessageBatches")),
                "field_invalid",
                *ONE,
                parameters=[
                    query("after_id", TEXT, "Batches older than the one with this id."),
                    query("before_id", TEXT, "Batches just newer than the one with this id."),
                    query(
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
                        f"{LISTED} by default.",
                    ),
                ],
            ),
        },
        f"{MESSAGE_BATCHES}/{{batch_id}}": {
            "parameters": one,
            "get": about("message_batch", "Show a batch of messages", batch, *ONE),
            "delete": about(
                "delete_message_batch",
                "Delete a batch of messages that has ended, with its results and jobs",
                given(ref("MessageBatchDeleted")),
                "admin_required",
                "batch_not_ended",
                *ONE,
                *WRITE,
            ),
        },
        f"{MESSAGE_BATCHES}/{{batch_id}}/cancel": {
            "parameters": one,
            "post": about("cancel_message_batch", "Cancel a batch of messages", batch, *CANCEL),
        },
        f"{MESSAGE_BATCHES}/{{batch_id}}/results": {
            "parameters": one,
            "get": about(
                "message_batch_results",
                "Download the results of a batch of messages",
                answered("The results, one a line.", {JSONL: TEXT}),
                "batch_not_ended",
                "blob_missing",
                "requested_range_not_satisfiable",
                "memory_full",
                "too_slow",
                *ONE,
            ),
        },
    }
