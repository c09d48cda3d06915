"""/openapi.json: what every route takes and gives."""

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

# Faults that go together, by their codes
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

TICKET = query("ticket", TEXT, "From `POST /tickets`, in the place of a token.")
WAIT = header("Prefer", TEXT, f"wait=N holds the answer until the job has ended, N ≤ {LONGEST_WAIT} s.")

ABOUT = """A durable job queue in front of your own inference server.

Every GET route answers HEAD too. Objects may get further keys. A connection beyond the setting `max_connections` is
answered 503 `too_many_connections`, in the shape of `Fault`, whatever its route, and closed; a request that is no HTTP
is answered 400. Doubled slashes in a path, a slash at its end, and a doubled `/v1` or `/api` at its beginning are
overlooked. Where the target is an Ollama, it answers what else is asked under `/api/` and `/v1/`. Bodies may be
compressed (`Content-Encoding: gzip`, `deflate` or `zstd`), uploads of files excepted. `/api/…` and `/v1/…` are the APIs
of Ollama and OpenAI: where an answer is the target's own, its shape is described by them."""


@openapi.get("/openapi.json")
async def describe() -> Response:
    """This API, for programs."""
    return json_text(_encoded())


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The description, as OpenAPI 3.1."""
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
                    "description": "One of the settings token and admin_token; none is needed where none is set.",
                },
                "api_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The same token, as Anthropic's clients send it.",
                },
            },
        },
    }


def _jobs() -> Paths:
    submitted = given({"anyOf": [ref("Accepted"), ref("Submitted")]}, links=_job_links("$response.body#/job_id"))
    submitted["headers"] = {"Location": {"schema": TEXT, "description": "Of one job."}}
    return {
        "/jobs": {
            "post": operation(
                "submit",
                "Store a job, or many",
                {"202": submitted, "200": given(ref("Job")), "422": given(ref("Submitted"))},
                (*BODY, *ASKED, *WRITE, "wrong_content_type", "webhook_refused", "idempotency_mismatch", "queue_full"),
                parameters=[
                    header("Idempotency-Key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "For one job only."),
                    WAIT,
                ],
                body={JSON: ref("Submission"), NDJSON: TEXT | {"description": "A Submission a line."}},
                description="202 once it is on disk. 200 with `Prefer: wait=N` when the job has ended by then. Lines "
                "of NDJSON are stored one by one: 202 if any is accepted, else 422, and `Submitted` in both cases; "
                "with `Retry-After` where some were more than the setting `rate` allows.",
            ),
            "get": operation(
                "list_jobs",
                "List jobs, newest first",
                {"200": given(ref("Page"), links=_job_links("$response.body#/jobs/0/job_id"))},
                ("field_invalid",),
                parameters=[
                    query("id", {"type": "string", "pattern": f"^{PART_OF_ID}$"}, "Its beginning or end will do."),
                    query("custom_id", FILTER, "With * at its end: all that begin so."),
                    query("state", many(STATE) | {"minItems": 1}, "One of these.", comma=True),
                    query("model", FILTER, "As submitted, or by any name that the target knows it by."),
                    query("priority", PRIORITY),
                    query("endpoint", words(*ENDPOINTS)),
                    query("error_code", FILTER),
                    query("caller", FILTER, "The name of the token that it was submitted with."),
                    query("created_after", TIME, "Then or later."),
                    query("created_before", TIME),
                    query("order", words(*Order), "ended: only those that have ended, the last one first."),
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE}),
                    query("after", {"type": "string", "pattern": f"^{CURSOR}$"}, "The `next` of the page before."),
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
                "Its state, and its result once it is done",
                {"200": given(ref("Job"), links={"artifact": link("artifact", named)})},
                (*ONE_JOB, "field_invalid", "memory_full"),
                parameters=[WAIT],
            ),
            "delete": operation("delete_job", "Remove a job that has ended", {"204": given()}, step),
        },
        "/jobs/{job_id}/request": {
            "parameters": [job],
            "get": operation(
                "job_request", "What the target is asked", {"200": given({"type": "object"})}, (*ONE_JOB, "memory_full")
            ),
        },
        "/jobs/{job_id}/cancel": {
            "parameters": [job],
            "post": operation("cancel_job", "Cancel it, also while it runs", {"200": given(ref("Job"))}, step),
        },
        "/jobs/{job_id}/retry": {
            "parameters": [job],
            "post": operation(
                "retry_job",
                "Queue it again after it has failed, expired or been cancelled",
                {"200": given(ref("Job"))},
                (*step, "queue_full", "rate_limited"),
            ),
        },
        "/jobs/{job_id}/events": {
            "parameters": [job],
            "get": operation(
                "job_events",
                "Its changes of state",
                {"200": given(ref("Changes"))},
                (*ONE_JOB, "field_invalid"),
                parameters=[query("after", COUNT | {"maximum": MOST_SEQ}, "The seq that they come after.")],
            ),
        },
        "/jobs/{job_id}/stream": {
            "parameters": [job],
            "get": operation(
                "job_stream",
                "Its output as it is produced",
                {"200": streamed(NDJSON, SSE)},
                (*ONE_JOB, "memory_full"),
                parameters=[TICKET],
                description="The chunks of the endpoint's own stream, from the first one; server-sent events with "
                "`Accept: text/event-stream`. It ends with the job.",
            ),
        },
        "/jobs/{job_id}/artifacts/{name}": {
            "parameters": [job, path("name", TEXT)],
            "get": operation(
                "artifact",
                "The bytes of an artifact",
                {
                    "200": answered("All of it.", artifact, headers=ranges),
                    "206": answered("The part asked for.", artifact, headers=ranges | {"Content-Range": TEXT}),
                    "304": answered("It is what the caller has."),
                },
                (*ONE_JOB, "artifact_not_found", "requested_range_not_satisfiable", "memory_full"),
                parameters=[
                    TICKET,
                    header("Range", TEXT, "As bytes=0-99."),
                    header("If-None-Match", TEXT, "An ETag that the caller has."),
                ],
            ),
        },
        "/jobs/{job_id}/deliveries": {
            "parameters": [job],
            "get": operation(
                "deliveries",
                "The log of its webhooks",
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
    ctx = {"304": answered("It is what the caller has.")}
    page = {"200": answered("The page, or `Ollama is running`.", {"text/plain": TEXT, "text/html": TEXT})} | ctx
    part = {"200": answered("The file.", {ANY: ANYTHING})} | ctx
    return {
        "/events": {
            "get": operation(
                "feed",
                "Every change of every job, as it happens",
                {
                    "200": answered("Hello, and then changes.", {SSE: events(ref("Hello"), ref("Change"))}),
                    "101": answered("A WebSocket, with the same messages."),
                },
                ("query_invalid", "not_acceptable", "cursor_gone"),
                dialect=SERVICE,
                description="Server-sent events with `Accept: text/event-stream`; else it is the start of a WebSocket.",
                parameters=[
                    query(
                        "after", COUNT | {"maximum": 10**18 - 1}, "A seq up to the newest: what came after it first."
                    ),
                    query("job_id", many(TEXT)),
                    query("model", many(TEXT)),
                    query("state", many(STATE)),
                    TICKET,
                    header("Last-Event-ID", TEXT, "Stands for `after` where that is not given."),
                ],
            )
        },
        "/tickets": {
            "post": operation(
                "ticket",
                "Get a ticket, for what a browser opens without headers",
                {"200": given(ref("Ticket"))},
                (),
                dialect=SERVICE,
                description="`?ticket=` stands for the caller that got it, on one request within a minute.",
            )
        },
        "/queue": {"get": service("queue", "What waits, what runs, which model is loaded", "Queue")},
        "/queue/jobs": {
            "get": service(
                "queue_jobs",
                "What waits, in the order in which it would run",
                "Line",
                "field_invalid",
                parameters=[
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE})
                ],
            )
        },
        "/queue/pause": {"post": service("pause", "Let no queued job start", "Paused", *WRITE, "admin_required")},
        "/queue/resume": {"post": service("resume", "Let queued jobs start", "Paused", *WRITE, "admin_required")},
        "/usage": {
            "get": service(
                "usage",
                "What was done in every minute, hour or day",
                "Usage",
                "field_invalid",
                parameters=[
                    query("by", words(*Group._fields), "A row for each name in each step that has some."),
                    query("from", TIME, "Minutes are kept for 24 hours; 60 minutes, 24 hours or 30 days by default."),
                    query("to", TIME, "Now by default; the step under way is the last."),
                    query("step", words(*TRANSITIONS), "hour by default."),
                ],
            )
        },
        "/healthz": {"get": service("health", "Is it alive", "Health", needs_token=False)},
        "/readyz": {"get": operation("ready", "Does it take jobs", ready, (), dialect=SERVICE, needs_token=False)},
        "/metrics": {
            "get": operation("metrics", "Figures for Prometheus", plain, ("admin_required",), dialect=SERVICE)
        },
        "/openapi.json": {
            "get": operation("describe", "This description", {"200": given({"type": "object"})}, (), dialect=SERVICE)
        },
        "/": {
            "get": operation("root", "For browsers a page; else words", page, (), dialect=SERVICE, needs_token=False)
        },
        "/static/{name}": {
            "parameters": [path("name", TEXT)],
            "get": operation("static", "A part of the page", part, ("not_found",), dialect=SERVICE, needs_token=False),
        },
    }


def _ollama() -> Paths:
    def call(name: str) -> dict[str, Any]:
        return {"post": _call(name, "A job whose caller waits", OLLAMA, NDJSON)}

    def passed(name: str, *errors: str, **more: Any) -> dict[str, Any]:
        answers = {"default": answered("The target's own answer.", {ANY: ANYTHING})}
        return operation(name, "Ollama's own", answers, (*PASSED, *errors), dialect=OLLAMA, **more)

    managing = ("admin_required", "not_on_this_target")
    any_body = {ANY: ANYTHING}
    managed = {
        f"/api/{verb}": {"post": passed(verb, *managing, *BODY, body=any_body)}
        for verb in ("pull", "push", "create", "copy")
    }
    return {
        "/api/chat": call("chat"),
        "/api/generate": call("generate"),
        "/api/embed": {"post": _embedding("embed", OLLAMA)},
        "/api/embeddings": {"post": passed("embeddings", *BODY, *ASKED, *RUN, body={JSON: ref("Call")})},
        "/api/version": {"get": passed("version")},
        "/api/tags": {"get": passed("tags")},
        "/api/ps": {"get": passed("ps")},
        "/api/show": {"post": passed("show", *BODY, *READ, body={JSON: {"type": "object"}})},
        **managed,
        "/api/delete": {"delete": passed("delete", *managing, *BODY, body=any_body)},
        "/api/blobs/{digest}": {
            "parameters": [path("digest", TEXT)],
            "post": passed(
                "put_blob", *managing, "not_found", "request_timeout", "wrong_content_encoding", body=any_body
            ),
            "get": passed("blob", *managing, "not_found"),
            "head": passed("has_blob", *managing, "not_found"),
        },
    }


def _openai() -> Paths:
    def call(name: str, dialect: Dialect = OPENAI) -> dict[str, Any]:
        return {"post": _call(name.replace("/", "_"), "A job whose caller waits", dialect, SSE)}

    def counting(name: str, dialect: Dialect) -> dict[str, Any]:
        errors = (*BODY, *ASKED, *RUN)
        return operation(
            name, "Tokens of a request", {"200": given(ANYTHING)}, errors, dialect=dialect, body={JSON: ref("Call")}
        )

    def about_models(name: str, shape: str, *errors: str) -> dict[str, Any]:
        return operation(name, "What the target has", {"200": given(ref(shape))}, errors, dialect=OPENAI)

    return {
        "/v1/chat/completions": call("chat/completions"),
        "/v1/completions": call("completions"),
        "/v1/responses": call("responses"),
        "/v1/messages": call("messages", ANTHROPIC),
        "/v1/messages/count_tokens": {"post": counting("count_tokens", ANTHROPIC)},
        "/v1/responses/input_tokens": {"post": counting("input_tokens", OPENAI)},
        "/v1/embeddings": {"post": _embedding("openai_embeddings", OPENAI)},
        "/v1/models": {"get": about_models("models", "OpenAIModels")},
        "/v1/models/{name}": {
            "parameters": [path("name", MODEL | {"description": "It may hold slashes."})],
            "get": about_models("model", "OpenAIModel", "model_not_found", "target_down", "not_found"),
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
            header("X-Foreman-On-Disconnect", words("cancel", "keep"), "What becomes of the job; cancel by default."),
        ],
        body={JSON: ref("Call")},
        description="Any content type is taken for JSON.",
    )


def _embedding(name: str, dialect: Dialect) -> dict[str, Any]:
    return operation(
        name,
        "Embeddings, past the queue",
        {"200": given(ANYTHING)},
        (*BODY, *ASKED, *RUN),
        dialect=dialect,
        body={JSON: ref("Call")},
    )
