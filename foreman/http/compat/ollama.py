"""The Ollama dialect: `/api/*` as an Ollama server answers it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from foreman.domain import intake, views
from foreman.domain.endpoints import EVERY
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.errors import (
    BodyUnreadable,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    ModelNotFound,
    NotOnThisTarget,
    QueueFull,
)
from foreman.domain.job import model_of
from foreman.domain.json_objects import read_object
from foreman.domain.translate.request import embed_as_embeddings, embeddings_as_embed
from foreman.http import rate_limit
from foreman.http.body import coding, read_body
from foreman.http.compat import calls
from foreman.http.compat.endpoint_routes import add_routes
from foreman.http.compat.proxy import pass_on
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text
from foreman.http.framing import Ndjson
from foreman.offload import offload
from foreman.targets.protocol import Model, OllamaApi

ollama = Blueprint("ollama", __name__)

OLDER = "/api/embeddings"  # the older form of /api/embed, with one text
VERSION = "0.13.0"  # of the Ollama API emulated here; editors require a recent one
BUSY = "server busy, please try again.  maximum pending requests exceeded"
NAME = re.compile(  # [scheme://][host/][namespace/]model[:tag], from Ollama's types/model/name.go
    r"(?:\w+://)?(?:\w[\w.:-]{0,349}/)?(?:\w[\w-]{0,79}/)?\w[\w.-]{0,79}(?::\w[\w.-]{0,79})?", re.ASCII
)
# Keys for a model's context length in tokens, by server: vLLM and managed models, llama-server, LM Studio.
GIVEN = ("max_model_len", "n_ctx", "loaded_context_length")
POSSIBLE = ("max_model_len", "n_ctx_train", "max_context_length", "n_ctx")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
CONTENT_TYPE = re.compile(r"[!-~ ]{1,200}")
LONG_AGO = datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")


class OllamaDialect:
    """Ollama's conventions: NDJSON, streams by default, errors as one string."""

    streams_by_default = True

    def error(self, error: ForemanError) -> Response:
        """Return an error as a response of its own."""
        response = calls.answer_to(error, self.error_line)
        if _misnamed(error):
            response.status_code = 400
        return response

    def error_line(self, error: ForemanError) -> views.OllamaError:
        """Return an error in Ollama's words where it has some."""
        if _misnamed(error):
            return views.OllamaError("invalid model name")
        if isinstance(error, ModelNotFound):
            return views.OllamaError(f"model '{error.model}' not found")
        if isinstance(error, FieldInvalid) and error.in_go:
            return views.OllamaError(error.in_go)
        if isinstance(error, QueueFull):
            return views.OllamaError(BUSY)
        if isinstance(error, (InvalidJson, BodyUnreadable)) and error.hint:
            if error.hint == calls.NOTHING:
                return views.OllamaError(error.hint)
            return views.OllamaError(f"{error}: {error.hint}")
        return views.OllamaError(str(error))

    def frame(self, endpoint: Endpoint) -> Ndjson:
        """Return NDJSON framing."""
        return Ndjson()


def _misnamed(error: ForemanError) -> bool:
    """Return True when a model was not found and its name is invalid in Ollama; other servers may allow such names."""
    return isinstance(error, ModelNotFound) and error.model != "" and not NAME.fullmatch(error.model)


DIALECT = OllamaDialect()


add_routes(ollama, {"ollama": DIALECT})


@ollama.post(OLDER)
async def embeddings() -> Response:
    """Compute an embedding, in the older form with one `prompt` and one `embedding`."""
    asked = await calls.read(EVERY["/api/embed"])
    if (passed := await calls.pass_on(OLDER, EVERY["/api/embed"], asked)) is not None:
        return passed
    await context().fleet.resolve(asked.model)
    return await older_embeddings(asked, partial(calls.past_queue, EVERY["/api/embed"]))


async def older_embeddings(
    asked: intake.Submission, past_queue: Callable[[intake.Submission], Awaitable[bytes]]
) -> Response:
    """Answer a call in the older form; where the target is no Ollama server, by a newer call to `past_queue`."""
    body = msgspec.json.encode(asked.payload)
    if api := context().fleet.ollama_api_of(asked.model):  # its older route does not normalise, unlike the newer one
        return await pass_on(api, body, path=OLDER)
    answer = await past_queue(await offload(len(body), _embed_for, body))
    return json_text(await offload(len(answer), embed_as_embeddings, answer))


def _embed_for(body: bytes) -> intake.Submission:
    return intake.read_call(embeddings_as_embed(body))


@ollama.get("/api/version")
async def version() -> Response:
    """Show the version of the Ollama API."""
    api = context().fleet.ollama_api
    return await pass_on(api) if api else json_answer({"version": VERSION})


@ollama.get("/api/tags")
async def tags() -> Response:
    """List the target's models."""
    ctx = context()
    if api := ctx.fleet.ollama_lists:
        return await pass_on(api)
    return json_text(await ctx.fleet.shown(_tags))


@ollama.get("/api/ps")
async def ps() -> Response:
    """List the loaded models."""
    ctx = context()
    if api := ctx.fleet.ollama_lists:
        return await pass_on(api)
    found = (member.inventory.find(model_of(key)) for member, key in ctx.fleet.loaded())
    loaded = {model.name: model for model in (*found, *ctx.fleet.elsewhere.loaded()) if model}.values()
    never = "2318-01-01T00:00:00Z"
    return json_answer(
        {
            "models": [
                _tag(model) | {"expires_at": never, "size_vram": 0} | _present(context_length=_listed(model, *GIVEN))
                for model in loaded
            ]
        }
    )


@ollama.post("/api/show")
async def show() -> Response:
    """Show a model."""
    ctx = context()
    body = await read_body()
    if api := ctx.fleet.ollama_lists:
        return await pass_on(api, body)
    fields = await offload(len(body), partial(read_object, rest_ignored=True), body)
    if "model" not in fields and "name" in fields:  # the key of older clients
        fields["model"] = fields["name"]
    model = await ctx.fleet.resolve(asked := intake.read_model(fields))
    if api := ctx.fleet.ollama_api_of(asked):
        return await pass_on(api, body)
    return json_answer(
        {
            "modelfile": f"FROM {model.name}",
            "parameters": "",
            "template": "",
            "license": "",
            "details": _tag(model)["details"],
            "model_info": {"general.architecture": "unknown"}
            | _present(**{"unknown.context_length": _listed(model, *POSSIBLE)}),
            "capabilities": _capabilities(model),
            "modified_at": LONG_AGO,
        }
    )


@ollama.post("/api/<any(pull, push, create, copy):verb>")
@ollama.delete("/api/<any(delete):verb>")
async def manage(verb: str) -> Response:
    """Change the target's models: pull, push, create, copy, delete."""
    return await pass_on(_manageable(), await read_body(), at_end=context().fleet.probe)


@ollama.route("/api/blobs/<digest>", methods=["POST", "HEAD", "GET"])
async def blob(digest: str) -> Response:
    """Upload, check or download a blob, streamed: it may be larger than memory."""
    body = None
    if request.method == "POST":
        coding(allowed=())
        body = request.body
    return await pass_on(_manageable(), body)


async def elsewhere() -> Response | None:
    """Forward a request without a route here to an Ollama target, which may be newer; None on other targets and paths.

    Methods that may change something need the admin token.
    """
    ctx, steps = context(), request.path.split("/")
    api = ctx.fleet.ollama_api
    if api is None or steps[1] not in ("api", "v1") or {".", ".."} & set(steps):
        return None
    if request.method in SAFE:
        return await pass_on(api)
    ctx.auth.check_admin(request)
    rate_limit.count()
    content_type = request.headers.get("Content-Type", "")
    return await pass_on(
        api,
        await read_body(),
        content_type=content_type if CONTENT_TYPE.fullmatch(content_type) else None,
        at_end=ctx.fleet.probe,
    )


def _manageable() -> OllamaApi:
    """Return the API of the Ollama target.

    Raises:
        AdminRequired: The caller may not change its models.
        NotOnThisTarget: The target is no Ollama.
    """
    ctx = context()
    ctx.auth.check_admin(request)
    if (api := ctx.fleet.ollama_server()) is None:
        raise NotOnThisTarget(request.path, ", ".join(member.target.name for member in ctx.fleet.members))
    return api


def _tags(models: Sequence[Model]) -> bytes:
    return msgspec.json.encode({"models": [msgspec.Raw(msgspec.json.encode(_tag(model))) for model in models]})


def _tag(model: Model) -> dict[str, Any]:
    listed = model.told()
    if "digest" in listed and "details" in listed:
        return listed  # an Ollama server's own entry
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": LONG_AGO,
        "size": _listed(model, "size") or 0,
        "digest": hashlib.sha256(model.name.encode()).hexdigest(),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def _capabilities(model: Model) -> list[object]:
    listed = model.told().get("capabilities")
    if isinstance(listed, list):
        return listed
    return ["embedding"] if model.embedding else ["completion", "tools"]


def _listed(model: Model, *names: str) -> int | None:
    """Return the first positive number that the target lists for a model under these keys, if any."""
    listed = model.told()
    meta = listed.get("meta")
    listed |= meta if isinstance(meta, dict) else {}
    return next((found for name in names if isinstance(found := listed.get(name), int) and found > 0), None)


def _present(**fields: object) -> dict[str, object]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
