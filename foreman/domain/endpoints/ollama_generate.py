"""The endpoint `/api/generate`: a text completion in Ollama's API."""

from __future__ import annotations

from typing import ClassVar

from foreman.domain.endpoints.endpoint import Json, Purpose
from foreman.domain.endpoints.native import NativeEndpoint
from foreman.domain.endpoints.question import Question
from foreman.domain.translate import request


class Generate(NativeEndpoint):
    """See the module."""

    path = "/api/generate"
    operation = "generate"
    prompt_key = "prompt"
    content = frozenset({"response", "done"})
    empty: ClassVar[Json] = {"response": ""}

    def only_loads(self, payload: bytes) -> Purpose | None:
        """See `Endpoint.only_loads`."""
        return request.purpose_of_generate(payload)

    def translated(self, payload: bytes, model: str) -> Question:
        """See `Endpoint.translated`."""
        return request.generate(payload, model)


ENDPOINT = Generate()
