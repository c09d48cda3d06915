"""The endpoint `/api/chat`: a chat in Ollama's API."""

from __future__ import annotations

from typing import ClassVar

from foreman.domain.answers.failures import MESSAGE_KEYS, error_message
from foreman.domain.endpoints.endpoint import Json, Purpose
from foreman.domain.endpoints.native import NativeEndpoint
from foreman.domain.endpoints.question import Question
from foreman.domain.translate import request


class Chat(NativeEndpoint):
    """See the module."""

    path = "/api/chat"
    operation = "chat"
    prompt_key = "messages"
    content = frozenset({"message", "done"})
    empty: ClassVar[Json] = {"message": {"role": "assistant", "content": ""}}

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`; a message that is a text is an error."""
        if (why := super().failed(value)) is None and isinstance(value.get("message"), str):
            return error_message(value) if any(value.get(name) for name in MESSAGE_KEYS) else None
        return why

    def only_loads(self, payload: bytes) -> Purpose | None:
        """See `Endpoint.only_loads`."""
        return request.purpose_of_chat(payload)

    def translated(self, payload: bytes, model: str) -> Question:
        """See `Endpoint.translated`."""
        return request.chat(payload, model)


ENDPOINT = Chat()
