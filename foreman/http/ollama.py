"""The Ollama face: `/api/*` as an Ollama server answers it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from foreman import wire
from foreman.errors import (
    ForemanError,
    InvalidJson,
    ModelNotFound,
    NotOnThisTarget,
    QueueFull,
)
from foreman.http import calls, problems
from foreman.http.deps import deps
from foreman.http.jobs import read_body
from foreman.http.problems import json_answer
from foreman.http.stream import Ndjson
from foreman.job import Endpoint, drain_key
from foreman.targets.ollama import OllamaTarget
from foreman.targets.protocol import Call, Model
from foreman.targets.translate import embed_as_embeddings, embeddings_as_embed

ollama = Blueprint("ollama", __name__)

VERSION = "0.13.0"  # of the Ollama API that is spoken here; editors ask for a recent one
BUSY = "server busy, please try again.  maximum pending requests exceeded"
LONG_AGO = datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")


class OllamaFace:
    streams_by_default = True

    def fault(self, fault: ForemanError) -> Response:
        return problems.answer(fault, self.fault_line(fault))

    def fault_line(self, fault: ForemanError) -> dict[str, object]:
        if isinstance(fault, ModelNotFound):
            return {"error": f"model '{fault.model}' not found"}
        if isinstance(fault, QueueFull):
            return {"error": BUSY}
        if isinstance(fault, InvalidJson) and fault.hint:
            return {"error": f"{fault}: {fault.hint}"}
        return {"error": str(fault)}

    def frame(self, endpoint: Endpoint) -> Ndjson:
        return Ndjson()


FACE = OllamaFace()


@ollama.errorhandler(ForemanError)
async def flat(fault: ForemanError) -> Response:
    return FACE.fault(fault)


@ollama.post("/api/chat")
async def chat() -> Response:
    return await calls.run(FACE, "/api/chat")


@ollama.post("/api/generate")
async def generate() -> Response:
    return await calls.run(FACE, "/api/generate")


@ollama.post("/api/embed")
async def embed() -> Response:
    return Response(await embedded("/api/embed", await read_body()), content_type="application/json")


@ollama.post("/api/embeddings")
async def embeddings() -> Response:
    """The older form: one `prompt`, one `embedding`."""
    target, body = deps().target, await read_body()
    if isinstance(target, OllamaTarget):  # whose older route does not normalise, as its newer one does
        await deps().inventory.resolve(wire.read_call(body).model)
        return await passed_on(target, body)
    wire.read_call(body)
    answer = await embedded("/api/embed", embeddings_as_embed(body))
    return Response(embed_as_embeddings(answer), content_type="application/json")


async def embedded(endpoint: Endpoint, body: bytes) -> bytes:
    """The target's answer to a call for embeddings, which waits for no chat."""
    known = deps()
    submission = wire.read_call(body)
    model = await known.inventory.resolve(submission.model)
    payload = msgspec.json.encode(submission.payload)
    return await known.embeddings.embed(
        Call(model=submission.model, key=drain_key(model.name), endpoint=endpoint, payload=payload)
    )


@ollama.get("/api/version")
async def version() -> Response:
    target = deps().target
    return await passed_on(target) if isinstance(target, OllamaTarget) else json_answer({"version": VERSION})


@ollama.get("/api/tags")
async def tags() -> Response:
    known = deps()
    if isinstance(known.target, OllamaTarget):
        return await passed_on(known.target)
    return json_answer({"models": [_tag(model) for model in known.inventory.models]})


@ollama.get("/api/ps")
async def ps() -> Response:
    known = deps()
    if isinstance(known.target, OllamaTarget):
        return await passed_on(known.target)
    resident = known.worker.target_resident()
    loaded = [model for model in known.inventory.models if resident and drain_key(model.name) == resident]
    never = "2318-01-01T00:00:00Z"
    return json_answer(
        {
            "models": [
                _tag(model) | {"expires_at": never, "size_vram": 0, "context_length": _context(model)}
                for model in loaded
            ]
        }
    )


@ollama.post("/api/show")
async def show() -> Response:
    known = deps()
    body = await read_body()
    if isinstance(known.target, OllamaTarget):
        return await passed_on(known.target, body)
    fields = wire.read_object(body)
    if "model" not in fields and "name" in fields:  # what older clients call it
        fields["model"] = fields["name"]
    model = await known.inventory.resolve(wire.read_model(fields))
    return json_answer(
        {
            "modelfile": f"FROM {model.name}",
            "parameters": "",
            "template": "",
            "license": "",
            "details": _tag(model)["details"],
            "model_info": {"general.architecture": "unknown", "unknown.context_length": _context(model)},
            "capabilities": ["embedding"] if model.embedding else ["completion", "tools"],
            "modified_at": LONG_AGO,
        }
    )


@ollama.route("/api/<any(pull, push, create, copy, delete):verb>", methods=["POST", "DELETE"])
async def manage(verb: str) -> Response:
    """Routes that change the server's models."""
    return await _managed(f"/api/{verb}")


@ollama.route("/api/blobs/<digest>", methods=["POST", "HEAD", "GET"])
async def blob(digest: str) -> Response:
    return await _managed(f"/api/blobs/{digest}")


async def _managed(path: str) -> Response:
    known = deps()
    known.gate.check_admin(request)
    if not isinstance(known.target, OllamaTarget):
        raise NotOnThisTarget(path, known.target.name)
    answer = await passed_on(known.target, await read_body())
    await known.inventory.probe()
    return answer


async def passed_on(target: OllamaTarget, body: bytes | None = None) -> Response:
    """The target's own answer to this request."""
    return await problems.relayed(target.pass_on(request.method, request.full_path.rstrip("?"), body))


def _tag(model: Model) -> dict[str, Any]:
    size = model.details.get("size") or model.details.get("meta") or 0
    if isinstance(size, dict):
        size = size.get("size") or 0
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": LONG_AGO,
        "size": size if isinstance(size, int) else 0,
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


def _context(model: Model) -> int:
    known = model.details.get("max_model_len") or 4096
    return known if isinstance(known, int) else 4096
