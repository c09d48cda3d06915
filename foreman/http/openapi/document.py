"""The route /openapi.json: parameters, bodies and responses of every route."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from quart import Blueprint, Response

from foreman import __version__
from foreman.domain.job import JOB_ID
from foreman.domain.json_schema import ANYTHING, COUNT, TEXT, words
from foreman.http.body import NDJSON
from foreman.http.errors import json_text
from foreman.http.openapi.batches import batch_paths, native_batch_paths
from foreman.http.openapi.blocks import (
    ANY,
    CALLER,
    JSON,
    SSE,
    Paths,
    answered,
    given,
    header,
    link,
    operation,
    path,
    query,
    streamed,
)
from foreman.http.openapi.codes import ASKED, BODY, ONE_JOB, WRITE
from foreman.http.openapi.compat import ollama_paths, openai_paths
from foreman.http.openapi.files import file_paths
from foreman.http.openapi.message_batches import message_batch_paths
from foreman.http.openapi.schemas import ref, schemas
from foreman.http.openapi.selections import FILTERED, selection_paths
from foreman.http.openapi.service import TICKET, service_paths
from foreman.http.openapi.webhook_endpoints import endpoint_paths
from foreman.http.query import LONGEST_PAGE, MOST_SEQ, PAGE
from foreman.http.routes.jobs import LONGEST_WAIT
from foreman.http.selection import CURSOR
from foreman.store.records import Order

openapi = Blueprint("openapi", __name__)

WAIT = header("Prefer", TEXT, f"wait=N delays the answer until the job has ended, N ≤ {LONGEST_WAIT} s.")

ABOUT = """A durable job queue in front of your own inference server.

Every GET route also answers HEAD. Objects may gain keys in later versions. Connections beyond the setting
`max_connections` are answered 503 `too_many_connections` in the shape of `Error`, on any route, and closed; malformed
HTTP is answered 400. Paths are tidied: repeated slashes, a slash at the end, and a repeated `/v1` or `/api` at the
beginning. An Ollama target also answers other paths under `/api/` and `/v1/`. Bodies may be compressed
(`Content-Encoding: gzip`, `deflate` or `zstd`), except file uploads. `/api/…` and `/v1/…` are the APIs of Ollama and
OpenAI: their documentation describes the answers that come from the target."""


@openapi.get("/openapi.json")
async def describe() -> Response:
    """Return the API's OpenAPI description."""
    return json_text(_encoded())


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """Return the description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Foreman", "version": __version__, "license": {"name": "MIT"}, "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"api_key": []}, {}],
        "paths": _jobs()
        | selection_paths()
        | _one_job()
        | native_batch_paths()
        | service_paths()
        | ollama_paths()
        | openai_paths()
        | file_paths()
        | batch_paths()
        | message_batch_paths()
        | endpoint_paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token from the setting token or admin_token. Needed only if token is set.",
                },
                "api_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The same token, in the header that Anthropic's clients use.",
                },
            },
        },
    }


def _jobs() -> Paths:
    submitted = given(
        {"anyOf": [ref("Accepted"), ref("Submitted"), ref("Batched")]}, links=_job_links("$response.body#/job_id")
    )
    submitted["headers"] = {"Location": {"schema": TEXT, "description": "URL of a single job, or of the batch."}}
    return {
        "/jobs": {
            "post": operation(
                "submit",
                "Submit a job, or many as NDJSON",
                {"202": submitted, "200": given(ref("Job")), "422": given(ref("Submitted"))},
                (
                    *BODY,
                    *ASKED,
                    *WRITE,
                    "wrong_content_type",
                    "webhook_refused",
                    "previous_response_not_found",
                    "previous_response_unusable",
                    "conversation_too_long",
                    "idempotency_mismatch",
                    "queue_full",
                    "file_too_large",
                    "blobs_unavailable",
                ),
                parameters=[
                    header(
                        "Idempotency-Key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "Single jobs and batches."
                    ),
                    query("batch", {"type": "string", "minLength": 1, "maxLength": 128}, "Make a batch of this name."),
                    query("state_webhook_url", TEXT, "With `batch`: URL that is told of its end."),
                    CALLER,
                    WAIT,
                ],
                body={JSON: ref("Submission"), NDJSON: TEXT | {"description": "One Submission per line."}},
                description="202 once the job is on disk. 200 with `Prefer: wait=N` if the job ends in time. Each line "
                "of NDJSON is accepted or rejected separately: 202 if any is accepted, else 422, both with "
                "`Submitted`; `Retry-After` is set if lines exceeded the setting `rate` or a quota. With `batch`, all "
                "lines are accepted as one `Batched`, or all are rejected.",
            ),
            "get": operation(
                "list_jobs",
                "List jobs, newest first",
                {"200": given(ref("Page"), links=_job_links("$response.body#/jobs/0/job_id"))},
                ("field_invalid", "not_indexed"),
                parameters=[
                    *FILTERED,
                    query("order", words(*Order), "ended: only ended jobs, the latest end first."),
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE}),
                    query("after", {"type": "string", "pattern": f"^{CURSOR}$"}, "The `next` of the previous page."),
                ],
            ),
        }
    }


def _job_links(job_id: str) -> dict[str, Any]:
    names = (
        "show_job",
        "cancel_job",
        "uncancel_job",
        "retry_job",
        "job_request",
        "job_events",
        "job_stream",
        "deliveries",
        "delete_job",
    )
    return {name: link(name, {"job_id": job_id}) for name in names}


def _one_job() -> Paths:
    job = path("job_id", {"type": "string", "pattern": f"^{JOB_ID}$"})
    step = (*ONE_JOB, *WRITE, "admin_required", "illegal_step")
    artifact = {ANY: ANYTHING}
    ranges = {"ETag": TEXT, "Accept-Ranges": words("bytes")}
    redeliver = {
        "job_id": "$request.path.job_id",
        "delivery_id": "$response.body#/deliveries/0/delivery_id",
    }
    named = {"job_id": "$request.path.job_id", "name": "$response.body#/artifacts/0/name"}
    return {
        "/jobs/{job_id}": {
            "parameters": [job],
            "get": operation(
                "show_job",
                "Show a job: its state, and its result once done",
                {"200": given(ref("Job"), links={"artifact": link("artifact", named)})},
                (*ONE_JOB, "field_invalid", "memory_full"),
                parameters=[WAIT],
            ),
            "delete": operation(
                "delete_job", "Delete a job that has ended", {"204": given()}, (*step, "line_of_batch")
            ),
        },
        "/jobs/{job_id}/request": {
            "parameters": [job],
            "get": operation(
                "job_request",
                "Show the request that goes to the target",
                {"200": given({"type": "object"})},
                (*ONE_JOB, "memory_full"),
            ),
        },
        "/jobs/{job_id}/cancel": {
            "parameters": [job],
            "post": operation("cancel_job", "Cancel a job, queued or running", {"200": given(ref("Job"))}, step),
        },
        "/jobs/{job_id}/uncancel": {
            "parameters": [job],
            "post": operation(
                "uncancel_job",
                "Queue a job again as it was that was cancelled while queued",
                {"200": given(ref("Job"))},
                (*step, "line_of_batch", "queue_full", "quota_exceeded"),
            ),
        },
        "/jobs/{job_id}/retry": {
            "parameters": [job],
            "post": operation(
                "retry_job",
                "Requeue a job that has failed, expired or been cancelled",
                {"200": given(ref("Job"))},
                (*step, "line_of_batch", "queue_full", "rate_limited", "quota_exceeded"),
            ),
        },
        "/jobs/{job_id}/events": {
            "parameters": [job],
            "get": operation(
                "job_events",
                "List the events of a job",
                {"200": given(ref("Events"))},
                (*ONE_JOB, "field_invalid"),
                parameters=[query("after", COUNT | {"maximum": MOST_SEQ}, "The seq that they come after.")],
            ),
        },
        "/jobs/{job_id}/stream": {
            "parameters": [job],
            "get": operation(
                "job_stream",
                "Stream the output of a job",
                {"200": streamed(NDJSON, SSE)},
                (*ONE_JOB, "memory_full"),
                parameters=[TICKET],
                description="The chunks of the endpoint's own stream from the first one, as NDJSON or, with "
                "`Accept: text/event-stream`, as server-sent events. Ends when the job ends.",
            ),
        },
        "/jobs/{job_id}/artifacts/{name}": {
            "parameters": [job, path("name", TEXT)],
            "get": operation(
                "artifact",
                "Download an artifact",
                {
                    "200": answered("The whole artifact.", artifact, headers=ranges),
                    "206": answered("The requested range.", artifact, headers=ranges | {"Content-Range": TEXT}),
                    "304": answered("Not modified."),
                },
                (*ONE_JOB, "artifact_not_found", "requested_range_not_satisfiable", "memory_full"),
                parameters=[
                    TICKET,
                    header("Range", TEXT, "One range, such as bytes=0-99."),
                    header("If-None-Match", TEXT, "The ETag of a copy already held."),
                ],
            ),
        },
        "/jobs/{job_id}/deliveries": {
            "parameters": [job],
            "get": operation(
                "deliveries",
                "List the webhook deliveries of a job",
                {"200": given(ref("Deliveries"), links={"redeliver": link("redeliver", redeliver)})},
                (*ONE_JOB, "field_invalid"),
                parameters=[query("after", COUNT | {"maximum": MOST_SEQ}, "The seq that they come after.")],
            ),
        },
        "/jobs/{job_id}/deliveries/{delivery_id}/redeliver": {
            "parameters": [job, path("delivery_id", TEXT)],
            "post": operation(
                "redeliver",
                "Send a webhook again",
                {"202": given(ref("Delivery"))},
                (*ONE_JOB, *WRITE, "delivery_not_found", "admin_required"),
            ),
        },
    }
