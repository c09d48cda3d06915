"""The endpoint `/api/embed`: embeddings in Ollama's API."""

from __future__ import annotations

from foreman.domain.answers.failures import bad_ending
from foreman.domain.endpoints.endpoint import Json
from foreman.domain.endpoints.question import Question
from foreman.domain.endpoints.values import ValueEndpoint
from foreman.domain.translate import request
from foreman.domain.translate.answer import NativeEmbed


class Embed(ValueEndpoint):
    """See the module."""

    path = "/api/embed"
    operation = "embed"
    summary = "Compute embeddings, past the queue"
    dialect = "ollama"
    native = True
    unnamed_is_unknown = True  # as Ollama answers this route
    content = frozenset({"embeddings"})

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`."""
        return bad_ending("done_reason", value.get("done_reason")) or super().failed(value)

    def translated(self, payload: bytes, model: str) -> Question:
        """See `Endpoint.translated`."""
        return request.embed(payload, model)

    def translator(self, model: str, target: str, *, load_ns: int) -> NativeEmbed:
        """See `Endpoint.translator`."""
        return NativeEmbed(model, target, load_ns=load_ns)


ENDPOINT = Embed()
