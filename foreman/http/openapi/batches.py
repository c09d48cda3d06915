"""The OpenAPI description of /v1/batches and /batches."""

from __future__ import annotations

from typing import Any

from foreman.domain.batches import BATCH_ID, BatchState
from foreman.domain.fields import OWN
from foreman.domain.files import FILE_ID
from foreman.domain.json_schema import TEXT, Schema, many, words
from foreman.domain.views.batches import WINDOW
from foreman.http.body import NDJSON
from foreman.http.compat.batches import ENDPOINTS, LISTED, MOST_LISTED
from foreman.http.compat.files import LIFETIME
from foreman.http.openapi.blocks import CALLER, JSON, OPENAI, Paths, given, operation, path, query, streamed
from foreman.http.openapi.codes import BODY, WRITE
from foreman.http.openapi.schemas import ref
from foreman.http.openapi.service import TICKET
from foreman.http.query import LONGEST_PAGE, PAGE

NEW: Schema = {
    "type": "object",
    "required": ["input_file_id", "endpoint", "completion_window"],
    "properties": {
        "input_file_id": TEXT | {"pattern": f"^{FILE_ID.pattern}$"},
        "endpoint": words(*ENDPOINTS),
        "completion_window": words(WINDOW),
        "metadata": OWN["metadata"].schema,
        "output_expires_after": {
            "type": "object",
            "required": ["anchor", "seconds"],
            "properties": {
                "anchor": words("created_at"),
                "seconds": {"type": "integer", "minimum": LIFETIME[0], "maximum": LIFETIME[1]},
            },
        },
    },
}
BATCH = TEXT | {"pattern": f"^{BATCH_ID.pattern}$"}
CANCEL = ("admin_required", "batch_ended", "batch_not_found", "not_found", *WRITE)


def batch_paths() -> Paths:
    """Describe the routes of batches."""

    def about(name: str, summary: str, answer: str, *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, {"200": given(ref(answer))}, errors, dialect=OPENAI, **more)

    one = [path("batch_id", BATCH)]
    return {
        "/v1/batches": {
            "post": about(
                "create_batch",
                "Make a batch of an uploaded file",
                "OpenAIBatch",
                *BODY,
                "invalid_json",
                "field_invalid",
                "file_not_found",
                "not_found",
                "rate_limited",
                *WRITE,
                body={JSON: NEW},
                parameters=[CALLER],
                description="What is wrong with its lines is found later, and shown by the batch.",
            ),
            "get": about(
                "openai_batches",
                "List batches, newest first",
                "OpenAIBatches",
                "field_invalid",
                "batch_not_found",
                "not_found",
                parameters=[
                    query("after", TEXT, "Batches after the one with this id."),
                    query(
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
                        f"{LISTED} by default.",
                    ),
                ],
            ),
        },
        "/v1/batches/{batch_id}": {
            "parameters": one,
            "get": about("openai_batch", "Show a batch", "OpenAIBatch", "batch_not_found", "not_found"),
        },
        "/v1/batches/{batch_id}/cancel": {
            "parameters": one,
            "post": about("openai_cancel_batch", "Cancel a batch", "OpenAIBatch", *CANCEL),
        },
    }


def native_batch_paths() -> Paths:
    """Describe Foreman's own routes of batches."""
    one = [path("batch_id", BATCH)]
    answers = {"200": given(ref("Batched"))}
    return {
        "/batches": {
            "get": operation(
                "batches",
                "List batches, newest first",
                {"200": given(ref("BatchPage"))},
                ("field_invalid",),
                parameters=[
                    query("state", many(words(*BatchState)) | {"minItems": 1}, "In any of these states.", comma=True),
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE}),
                    query("after", BATCH, "The `next` of the previous page."),
                ],
            ),
        },
        "/batches/{batch_id}": {
            "parameters": one,
            "get": operation("batch", "Show a batch", answers, ("batch_not_found", "not_found")),
        },
        "/batches/{batch_id}/results": {
            "parameters": one,
            "get": operation(
                "batch_results",
                "Download a line for each request of a batch that has ended, in their order",
                {"200": streamed(NDJSON)},
                (
                    "batch_not_found",
                    "batch_not_ended",
                    "file_not_found",
                    "blob_missing",
                    "requested_range_not_satisfiable",
                    "memory_full",
                    "too_slow",
                    "not_found",
                ),
                parameters=[TICKET],
            ),
        },
        "/batches/{batch_id}/cancel": {
            "parameters": one,
            "post": operation("cancel_batch", "Cancel a batch", answers, CANCEL),
        },
    }
