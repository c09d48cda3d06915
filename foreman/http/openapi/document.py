"""The route /openapi.json: parameters, bodies and responses of every route."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import msgspec
from quart import Blueprint, Response

from foreman import __version__
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.usage import Group
from foreman.http.body import NDJSON
from foreman.http.errors import json_text
from foreman.http.openapi.pieces import (
    ANTHROPIC,
    ANY,
    JSON,
    OLLAMA,
    OPENAI,
    SERVICE,
    SSE,
    Dialect,
    answered,
    events,
    given,
    header,
    link,
    operation,
    path,
    query,
    streamed,
)
from foreman.http.openapi.shapes import (
    ANYTHING,
    COUNT,
    MODEL,
    PRIORITY,
    SHAPES,
    STATE,
    TEXT,
    TIME,
    many,
    ref,
    text,
    words,
)
from foreman.http.query import JOB_ID, LONGEST_PAGE, PAGE
from foreman.http.routes.jobs import LONGEST_WAIT, MOST_SEQ
from foreman.http.routes.usage import TRANSITIONS
from foreman.http.selection import CURSOR, LONGEST, PART_OF_ID
from foreman.store.protocol import Order

openapi = Blueprint("openapi", __name__)

Paths: TypeAlias = dict[str, dict[str, Any]]

# Groups of error codes
BODY = ("body_unreadable", "body_too_large", "memory_full", "too_slow", "request_timeout", "wrong_content_encoding")
WRITE = ("draining", "store_full", "store_busy", "store_lost")
READ = ("invalid_json", "model_required", "field_invalid", "model_not_found", "target_down")
ASKED = ("rate_limited", *READ)
PASSED = ("shortage", "target_unavailable", "target_lost", "target_silent", "target_garbled")
RUN = (
    *PASSED,
    "target_busy",
    "target_failed",
    "target_refused",
    "drained",
    "attempt_timeout",
    "load_timeout",
    "model_crashed",
    "interrupted",
    "answer_too_large",
    "not_served",
)
ONE_JOB = ("job_not_found", "not_found", "job_unreadable")

FILTER = text(LONGEST, least=1)

TICKET = query("ticket", TEXT, "A ticket from `POST /tickets`, instead of a token.")
WAIT = header("Prefer", TEXT, f"wait=N delays the answer until the job has ended, N ≤ {LONGEST_WAIT} s.")

ABOUT = """A durable job queue in front of your own inference server.

Every GET route also answers HEAD. Objects may gain keys in later versions. Connections beyond the setting
`max_connections` are answered 503 `too_many_connections` in the shape of `Fault`, on any route, and closed; malformed
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
        "paths": _jobs() | _one_job() | _service() | _ollama() | _openai(),
        "components": {
            "schemas": SHAPES,
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
    submitted = given({"anyOf": [ref("Accepted"), ref("Submitted")]}, links=_job_links("$response.body#/job_id"))
    submitted["headers"] = {"Location": {"schema": TEXT, "description": "URL of the job, for a single job."}}
    return {
        "/jobs": {
            "post": operation(
                "submit",
                "Submit a job, or many as NDJSON",
                {"202": submitted, "200": given(ref("Job")), "422": given(ref("Submitted"))},
                (*BODY, *ASKED, *WRITE, "wrong_content_type", "webhook_refused", "idempotency_mismatch", "queue_full"),
                parameters=[
                    header("Idempotency-Key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "Single jobs only."),
                    WAIT,
                ],
                body={JSON: ref("Submission"), NDJSON: TEXT | {"description": "One Submission per line."}},
                description="202 once the job is on disk. 200 with `Prefer: wait=N` if the job ends in time. Each line "
                "of NDJSON is accepted or rejected separately: 202 if any is accepted, else 422, both with "
                "`Submitted`; `Retry-After` is set if lines exceeded the setting `rate`.",
            ),
            "get": operation(
                "list_jobs",
                "List jobs, newest first",
                {"200": given(ref("Page"), links=_job_links("$response.body#/jobs/0/job_id"))},
                ("field_invalid",),
                parameters=[
                    query(
                        "id",
                        {"type": "string", "pattern": f"^{PART_OF_ID}$"},
                        "A job id, or the beginning or end of one.",
                    ),
                    query("custom_id", FILTER, "Exact, or a prefix followed by `*`."),
                    query("state", many(STATE) | {"minItems": 1}, "Any of these states.", comma=True),
                    query("model", FILTER, "As submitted, or any name or alias of the target's."),
                    query("priority", PRIORITY),
                    query("endpoint", words(*ENDPOINTS)),
                    query("error_code", FILTER),
                    query("caller", FILTER, "Name of the token that submitted the job."),
                    query("created_after", TIME, "At this time or later."),
                    query("created_before", TIME),
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
            "delete": operation("delete_job", "Delete a job that has ended", {"204": given()}, step),
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
        "/jobs/{job_id}/retry": {
            "parameters": [job],
            "post": operation(
                "retry_job",
                "Requeue a job that has failed, expired or been cancelled",
                {"200": given(ref("Job"))},
                (*step, "queue_full", "rate_limited"),
            ),
        },
        "/jobs/{job_id}/events": {
            "parameters": [job],
            "get": operation(
                "job_events",
                "List the events of a job",
                {"200": given(ref("Changes"))},
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


def _service() -> Paths:
    def service(name: str, summary: str, shape: str, *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, {"200": given(ref(shape))}, errors, dialect=SERVICE, **more)

    ready = {"200": given(ref("Readiness")), "503": given(ref("Readiness"))}
    plain = {"200": answered("Text.", {"text/plain": TEXT})}
    not_modified = {"304": answered("Not modified.")}
    root = {"200": answered("The page, or `Ollama is running`.", {"text/plain": TEXT, "text/html": TEXT})}
    page = root | not_modified
    part = {"200": answered("The file.", {ANY: ANYTHING})} | not_modified
    return {
        "/events": {
            "get": operation(
                "feed",
                "Follow the events of all jobs, live",
                {
                    "200": answered("A hello message, then events.", {SSE: events(ref("Hello"), ref("Change"))}),
                    "101": answered("A WebSocket, with the same messages."),
                },
                ("query_invalid", "not_acceptable", "cursor_gone"),
                dialect=SERVICE,
                description="Server-sent events with `Accept: text/event-stream`, otherwise a WebSocket handshake.",
                parameters=[
                    query("after", COUNT | {"maximum": 10**18 - 1}, "Begin after this seq, at most the newest."),
                    query("job_id", many(TEXT)),
                    query("model", many(TEXT)),
                    query("state", many(STATE)),
                    TICKET,
                    header("Last-Event-ID", TEXT, "Used as `after` if that is absent."),
                ],
            )
        },
        "/tickets": {
            "post": operation(
                "ticket",
                "Get a ticket for requests without headers",
                {"200": given(ref("Ticket"))},
                (),
                dialect=SERVICE,
                description="For URLs that a browser opens itself: `?ticket=` replaces the token on one request within "
                "a minute.",
            )
        },
        "/queue": {"get": service("queue", "Summarise the queue: waiting, running, loaded model", "Queue")},
        "/queue/jobs": {
            "get": service(
                "queue_jobs",
                "List waiting jobs in the order they would run",
                "Line",
                "field_invalid",
                parameters=[
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE})
                ],
            )
        },
        "/queue/pause": {
            "post": service("pause", "Pause the queue; running jobs go on", "Paused", *WRITE, "admin_required")
        },
        "/queue/resume": {"post": service("resume", "Resume the queue", "Paused", *WRITE, "admin_required")},
        "/usage": {
            "get": service(
                "usage",
                "Report usage per minute, hour or day",
                "Usage",
                "field_invalid",
                parameters=[
                    query("by", words(*Group._fields), "One row per name and step, empty ones left out."),
                    query(
                        "from", TIME, "60 minutes, 24 hours or 30 days ago by default. Minutes are kept for 24 hours."
                    ),
                    query("to", TIME, "Now by default; the current step is the last."),
                    query("step", words(*TRANSITIONS), "Length of a step; hour by default."),
                ],
            )
        },
        "/healthz": {"get": service("health", "Liveness probe", "Health", needs_token=False)},
        "/readyz": {"get": operation("ready", "Readiness probe", ready, (), dialect=SERVICE, needs_token=False)},
        "/metrics": {"get": operation("metrics", "Prometheus metrics", plain, ("admin_required",), dialect=SERVICE)},
        "/openapi.json": {
            "get": operation("describe", "OpenAPI description", {"200": given({"type": "object"})}, (), dialect=SERVICE)
        },
        "/": {
            "get": operation(
                "root", "Web UI for browsers, plain text otherwise", page, (), dialect=SERVICE, needs_token=False
            )
        },
        "/static/{name}": {
            "parameters": [path("name", TEXT)],
            "get": operation("static", "File of the web UI", part, ("not_found",), dialect=SERVICE, needs_token=False),
        },
    }


def _ollama() -> Paths:
    def call(name: str) -> dict[str, Any]:
        return {"post": _call(name, "Run a job and wait for its answer", OLLAMA, NDJSON)}

    def passed(name: str, summary: str, *errors: str, **more: Any) -> dict[str, Any]:
        answers = {"default": answered("The target's own answer.", {ANY: ANYTHING})}
        return operation(name, summary, answers, (*PASSED, *errors), dialect=OLLAMA, **more)

    managing = ("admin_required", "not_on_this_target")
    any_body = {ANY: ANYTHING}
    managed = {
        f"/api/{verb}": {"post": passed(verb, f"{verb.capitalize()} a model", *managing, *BODY, body=any_body)}
        for verb in ("pull", "push", "create", "copy")
    }
    return {
        "/api/chat": call("chat"),
        "/api/generate": call("generate"),
        "/api/embed": {"post": _embedding("embed", OLLAMA)},
        "/api/embeddings": {
            "post": passed(
                "embeddings", "Compute an embedding, older form", *BODY, *ASKED, *RUN, body={JSON: ref("Call")}
            )
        },
        "/api/version": {"get": passed("version", "Version of the Ollama API")},
        "/api/tags": {"get": passed("tags", "List the target's models")},
        "/api/ps": {"get": passed("ps", "List the loaded models")},
        "/api/show": {"post": passed("show", "Show a model", *BODY, *READ, body={JSON: {"type": "object"}})},
        **managed,
        "/api/delete": {"delete": passed("delete", "Delete a model", *managing, *BODY, body=any_body)},
        "/api/blobs/{digest}": {
            "parameters": [path("digest", TEXT)],
            "post": passed(
                "put_blob",
                "Upload a blob",
                *managing,
                "not_found",
                "request_timeout",
                "wrong_content_encoding",
                body=any_body,
            ),
            "get": passed("blob", "Download a blob", *managing, "not_found"),
            "head": passed("has_blob", "Check for a blob", *managing, "not_found"),
        },
    }


def _openai() -> Paths:
    def call(name: str, dialect: Dialect = OPENAI) -> dict[str, Any]:
        return {"post": _call(name.replace("/", "_"), "Run a job and wait for its answer", dialect, SSE)}

    def counting(name: str, dialect: Dialect) -> dict[str, Any]:
        errors = (*BODY, *ASKED, *RUN)
        return operation(
            name,
            "Count the tokens of a request",
            {"200": given(ANYTHING)},
            errors,
            dialect=dialect,
            body={JSON: ref("Call")},
        )

    def about_models(name: str, summary: str, shape: str, *errors: str) -> dict[str, Any]:
        return operation(name, summary, {"200": given(ref(shape))}, errors, dialect=OPENAI)

    return {
        "/v1/chat/completions": call("chat/completions"),
        "/v1/completions": call("completions"),
        "/v1/responses": call("responses"),
        "/v1/messages": call("messages", ANTHROPIC),
        "/v1/messages/count_tokens": {"post": counting("count_tokens", ANTHROPIC)},
        "/v1/responses/input_tokens": {"post": counting("input_tokens", OPENAI)},
        "/v1/embeddings": {"post": _embedding("openai_embeddings", OPENAI)},
        "/v1/models": {"get": about_models("models", "List the target's models", "OpenAIModels")},
        "/v1/models/{name}": {
            "parameters": [path("name", MODEL | {"description": "May contain slashes."})],
            "get": about_models("model", "Show a model", "OpenAIModel", "model_not_found", "target_down", "not_found"),
        },
    }


def _call(name: str, summary: str, dialect: Dialect, stream: str) -> dict[str, Any]:
    headers = {"X-Foreman-Job-Id": TEXT}
    found = streamed(stream, headers=headers)
    found["content"][JSON] = {"schema": ANYTHING}
    return operation(
        name,
        summary,
        {"200": found},
        (*BODY, *ASKED, *WRITE, *RUN, "queue_full", "job_ended"),
        dialect=dialect,
        parameters=[
            header("X-Foreman-Priority", PRIORITY, "high by default."),
            header(
                "X-Foreman-On-Disconnect",
                words("cancel", "keep"),
                "Fate of the job if the caller disconnects; cancel by default.",
            ),
        ],
        body={JSON: ref("Call")},
        description="The body is read as JSON whatever its content type.",
    )


def _embedding(name: str, dialect: Dialect) -> dict[str, Any]:
    return operation(
        name,
        "Compute embeddings, past the queue",
        {"200": given(ANYTHING)},
        (*BODY, *ASKED, *RUN),
        dialect=dialect,
        body={JSON: ref("Call")},
    )
