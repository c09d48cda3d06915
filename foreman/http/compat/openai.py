"""The OpenAI dialect: `/v1/*` as an OpenAI-compatible server answers it; Anthropic's for /v1/messages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from quart import Blueprint, Response

from foreman.domain import views
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import BodyTooLarge, BodyUnreadable, ForemanError, InvalidJson, ModelNotFound
from foreman.http import errors
from foreman.http.compat import calls, responses
from foreman.http.compat.endpoint_routes import add_routes
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text
from foreman.http.framing import Sse
from foreman.targets.protocol import Model

openai = Blueprint("openai", __name__)

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class OpenAIDialect:
    """OpenAI's conventions: SSE, whole answers by default, errors as an object."""

    streams_by_default = False

    def error(self, error: ForemanError) -> Response:
        """Return an error as a response of its own; keep the SDKs from retrying a permanent one."""
        response = calls.answer_to(error, self.error_line)
        if not errors.may_pass(error):
            response.headers["X-Should-Retry"] = "false"
        return response

    def error_line(self, error: ForemanError) -> msgspec.Struct:
        """Return an error as the object `error`."""
        return views.OpenAIError(self.detail(error))

    def detail(self, error: ForemanError) -> views.ErrorDetail:
        """Return the inner object of an error."""
        message = f"model '{error.model}' not found" if isinstance(error, ModelNotFound) else str(error)
        if isinstance(error, (InvalidJson, BodyUnreadable, BodyTooLarge)) and error.hint:
            message = f"{message}: {error.hint}"
        status = errors.status_of(error)
        kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        param = getattr(error, "field", "model" if isinstance(error, ModelNotFound) else None)
        return views.ErrorDetail(message, kind, param, error.code)

    def frame(self, endpoint: Endpoint) -> Sse:
        """Return SSE framing."""
        return Sse(endpoint.path)


class MessagesDialect(OpenAIDialect):
    """Errors in the shape that Anthropic's clients read too."""

    def error_line(self, error: ForemanError) -> msgspec.Struct:
        """Return an error with Anthropic's type beside OpenAI's keys."""
        shown = self.detail(error)
        if shown.type == "server_error":
            kind = "overloaded_error" if errors.status_of(error) in (503, 507) else "api_error"
            shown = replace(shown, type=kind)
        return views.AnthropicError(error=shown)


DIALECT = OpenAIDialect()
MESSAGES_DIALECT = MessagesDialect()


add_routes(openai, {"openai": DIALECT, "anthropic": MESSAGES_DIALECT}, {RESPONSES.path: responses.create})


@openai.get("/v1/models")
async def models() -> Response:
    """List the target's models."""
    return json_text(await context().fleet.shown(_entries))


@openai.get("/v1/models/<path:name>")
async def model(name: str) -> Response:
    """Show a model by its name, which may contain slashes."""
    return json_answer(_entry(await context().fleet.resolve(name)))


@openai.get("/v1/models//<path:name>")
async def rooted_model(name: str) -> Response:
    """Show a model whose name begins with a percent-encoded slash: vLLM names models by folder."""
    return await model("/" + name)


def _entries(models: Sequence[Model]) -> bytes:
    return msgspec.json.encode(views.OpenAIModels(data=[_entry(model) for model in models]))


def _entry(model: Model) -> views.OpenAIModel:
    listed = model.told()
    created, owner = listed.get("created"), listed.get("owned_by")
    return views.OpenAIModel(
        id=model.name,
        created=created if isinstance(created, int) else 0,
        owned_by=owner if isinstance(owner, str) else "library",
    )
