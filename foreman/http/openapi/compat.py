"""The OpenAPI description of the compatible APIs."""

from __future__ import annotations

from functools import partial
from typing import Any

from foreman.domain.endpoints import EVERY
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.fields import MODEL
from foreman.domain.job import JOB_ID
from foreman.domain.json_schema import ANYTHING, PRIORITY, TEXT, Schema, words
from foreman.domain.responses import numbers
from foreman.http.body import NDJSON
from foreman.http.compat.responses import ITEMS, MOST_ITEMS
from foreman.http.openapi.blocks import (
    ANTHROPIC,
    ANY,
    CALLER,
    JSON,
    OLLAMA,
    OPENAI,
    SSE,
    Paths,
    answered,
    given,
    header,
    operation,
    path,
    query,
    streamed,
)
from foreman.http.openapi.codes import ASKED, BODY, PASSED, READ, RUN, WRITE
from foreman.http.openapi.schemas import ref

CONTINUED = {  # errors of the endpoint whose requests may continue others
    RESPONSES.path: (
        "previous_response_not_found",
        "previous_response_unusable",
        "conversation_too_long",
        "idempotency_mismatch",
    )
}
DIALECTS = {"ollama": OLLAMA, "openai": OPENAI, "anthropic": ANTHROPIC}


def ollama_paths() -> Paths:
    """Describe the routes under /api."""

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
        **_endpoints("ollama"),
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


def openai_paths() -> Paths:
    """Describe the routes under /v1."""

    def about_models(name: str, summary: str, shape: str, *errors: str) -> dict[str, Any]:
        return operation(name, summary, {"200": given(ref(shape))}, errors, dialect=OPENAI)

    return {
        **_endpoints("openai", "anthropic"),
        **_responses(),
        "/v1/models": {"get": about_models("models", "List the target's models", "OpenAIModels")},
        "/v1/models/{name}": {
            "parameters": [path("name", MODEL.schema | {"description": "May contain slashes."})],
            "get": about_models("model", "Show a model", "OpenAIModel", "model_not_found", "target_down", "not_found"),
        },
    }


def _responses() -> Paths:
    one = path("response_id", {"type": "string", "pattern": f"^resp_{JOB_ID}$"})
    errors = ("response_not_found", "not_found", "job_unreadable", "memory_full")
    changes = (*errors, *WRITE, "admin_required")
    found = given(ANYTHING)
    streamed_too = streamed(SSE)
    streamed_too["content"][JSON] = {"schema": ANYTHING}
    about = partial(operation, dialect=OPENAI)
    page: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": ITEMS}
    return {
        "/v1/responses/{response_id}": {
            "parameters": [one],
            "get": about(
                "response",
                "Show a response, or follow its events",
                {"200": streamed_too},
                (*errors, "conversation_too_long", "field_invalid", "query_invalid"),
                parameters=[
                    query("stream", {"type": "boolean", "default": False}, "Answer with its events."),
                    query(
                        "starting_after",
                        {"type": "integer", "minimum": 0, "maximum": numbers.LAST},
                        "The sequence number of the last event that is known.",
                    ),
                ],
            ),
            "delete": about(
                "delete_response",
                "Delete a response with its job",
                {"200": given(ref("ResponseDeleted"))},
                (*changes, "illegal_step"),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "parameters": [one],
            "post": about(
                "cancel_response",
                "Cancel a response that was made in the background",
                {"200": found},
                (*changes, "response_not_in_background"),
            ),
        },
        "/v1/responses/{response_id}/input_items": {
            "parameters": [one],
            "get": about(
                "input_items",
                "List the items of a response's input",
                {"200": given(ref("InputItems"))},
                (*errors, "field_invalid", "query_invalid"),
                parameters=[
                    query("limit", page),
                    query("order", words("asc", "desc"), "desc by default."),
                    query("after", TEXT, "The id of an item; those after it are listed."),
                ],
            ),
        },
    }


def _endpoints(*dialects: str) -> Paths:
    shown: Paths = {}
    for endpoint in EVERY.values():
        if endpoint.dialect in dialects:
            shown[endpoint.path] = {"post": _past_queue(endpoint) if endpoint.past_queue else _call(endpoint)}
            if endpoint.counting is not None:
                shown[endpoint.counting] = {"post": _counting(endpoint)}
    return shown


def _call(endpoint: Endpoint) -> dict[str, Any]:
    found = streamed(NDJSON if endpoint.native else SSE, headers={"X-Foreman-Job-Id": TEXT})
    found["content"][JSON] = {"schema": ANYTHING}
    return operation(
        endpoint.operation,
        endpoint.summary,
        {"200": found},
        (*BODY, *ASKED, *WRITE, *RUN, "queue_full", "job_ended", *CONTINUED.get(endpoint.path, ())),
        dialect=DIALECTS[endpoint.dialect],
        parameters=[
            header("X-Foreman-Priority", PRIORITY, "high by default."),
            header(
                "X-Foreman-On-Disconnect",
                words("cancel", "keep"),
                "Fate of the job if the caller disconnects; cancel by default.",
            ),
            CALLER,
        ],
        body={JSON: ref("Call")},
        description="The body is read as JSON whatever its content type.",
    )


def _past_queue(endpoint: Endpoint) -> dict[str, Any]:
    return operation(
        endpoint.operation,
        endpoint.summary,
        {"200": given(ANYTHING)},
        (*BODY, *ASKED, *RUN),
        dialect=DIALECTS[endpoint.dialect],
        body={JSON: ref("Call")},
    )


def _counting(endpoint: Endpoint) -> dict[str, Any]:
    return operation(
        endpoint.counting_operation,
        "Count the tokens of a request",
        {"200": given(ANYTHING)},
        (*BODY, *ASKED, *RUN, *CONTINUED.get(endpoint.path, ())),
        dialect=DIALECTS[endpoint.dialect],
        body={JSON: ref("Call")},
    )
