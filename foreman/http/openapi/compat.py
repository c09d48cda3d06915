"""The OpenAPI description of the compatible APIs."""

from __future__ import annotations

from typing import Any

from foreman.domain.fields import MODEL
from foreman.domain.json_schema import ANYTHING, PRIORITY, TEXT, words
from foreman.http.body import NDJSON
from foreman.http.openapi.blocks import (
    ANTHROPIC,
    ANY,
    JSON,
    OLLAMA,
    OPENAI,
    SSE,
    Dialect,
    Paths,
    answered,
    given,
    header,
    operation,
    path,
    streamed,
)
from foreman.http.openapi.codes import ASKED, BODY, PASSED, READ, RUN, WRITE
from foreman.http.openapi.schemas import ref


def ollama_paths() -> Paths:
    """Describe the routes under /api."""

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


def openai_paths() -> Paths:
    """Describe the routes under /v1."""

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
            "parameters": [path("name", MODEL.schema | {"description": "May contain slashes."})],
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
