"""The OpenAI face: `/v1/*` as an OpenAI-compatible server answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Blueprint, Response

from foreman.domain.endpoints import Endpoint
from foreman.domain.errors import BodyUnreadable, ForemanError, InvalidJson, ModelNotFound
from foreman.http import errors
from foreman.http.compat import calls
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text
from foreman.http.routes.stream import Sse
from foreman.targets.protocol import Model

openai = Blueprint("openai", __name__)

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


class OpenAIDialect:
    streams_by_default = False

    def error(self, error: ForemanError) -> Response:
        response = calls.answer_to(error, self.error_line)
        if not errors.may_pass(error):
            response.headers["X-Should-Retry"] = "false"
        return response

    def error_line(self, error: ForemanError) -> dict[str, object]:
        words = f"model '{error.model}' not found" if isinstance(error, ModelNotFound) else str(error)
        if isinstance(error, (InvalidJson, BodyUnreadable)) and error.hint:
            words = f"{words}: {error.hint}"
        kind = KINDS.get(errors.status_of(error), "server_error")
        param = getattr(error, "field", "model" if isinstance(error, ModelNotFound) else None)
        return {"error": {"message": words, "type": kind, "param": param, "code": error.code}}

    def frame(self, endpoint: Endpoint) -> Sse:
        return Sse(endpoint)


class MessagesDialect(OpenAIDialect):
    """Faults that Anthropic's clients read too."""

    def error_line(self, error: ForemanError) -> dict[str, object]:
        line = super().error_line(error)
        told = line["error"]
        if isinstance(told, dict) and told["type"] == "server_error":
            told["type"] = "overloaded_error" if errors.status_of(error) in (503, 507) else "api_error"
        return {"type": "error", **line}


DIALECT = OpenAIDialect()
MESSAGES_DIALECT = MessagesDialect()


@openai.post("/v1/chat/completions")
async def chat_completions() -> Response:
    return await calls.run(DIALECT, "/v1/chat/completions")


@openai.post("/v1/completions")
async def completions() -> Response:
    return await calls.run(DIALECT, "/v1/completions")


@openai.post("/v1/responses")
async def responses() -> Response:
    return await calls.run(DIALECT, "/v1/responses")


@openai.post("/v1/messages")
async def messages() -> Response:
    return await calls.run(MESSAGES_DIALECT, "/v1/messages")


@openai.post("/v1/responses/input_tokens")
async def input_tokens() -> Response:
    return json_text(await calls.count("/v1/responses/input_tokens"))


@openai.post("/v1/messages/count_tokens")
async def count_tokens() -> Response:
    return json_text(await calls.count("/v1/messages/count_tokens"))


@openai.post("/v1/embeddings")
async def embeddings() -> Response:
    return json_text(await calls.embed("/v1/embeddings", await calls.read("/v1/embeddings")))


@openai.get("/v1/models")
async def models() -> Response:
    return json_text(await context().inventory.shown(_entries))


@openai.get("/v1/models/<path:name>")
async def model(name: str) -> Response:
    """Show a model by its name, which may hold slashes."""
    return json_answer(_entry(await context().inventory.resolve(name)))


@openai.get("/v1/models//<path:name>")
async def rooted_model(name: str) -> Response:
    """Show a model whose name begins with a slash, which clients percent-encode: vLLM takes names from folders."""
    return await model("/" + name)


def _entries(models: Sequence[Model]) -> bytes:
    return msgspec.json.encode(
        {"object": "list", "data": [msgspec.Raw(msgspec.json.encode(_entry(model))) for model in models]}
    )


def _entry(model: Model) -> dict[str, Any]:
    told = model.told()
    created, owner = told.get("created"), told.get("owned_by")
    return {
        "id": model.name,
        "object": "model",
        "created": created if isinstance(created, int) else 0,
        "owned_by": owner if isinstance(owner, str) else "library",
    }
