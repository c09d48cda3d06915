"""A conversation with a model: what was said, and how the model is asked; no terminal, no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from foreman.client.payload import Fields, body_of


class Conversation(msgspec.Struct):
    """A conversation; as JSON it is what /save writes."""

    model: str
    system: str | None = None
    options: dict[str, Any] = {}
    format: Literal["json"] | dict[str, Any] | None = None  # any JSON, or a schema
    think: bool | Literal["low", "medium", "high"] | None = None  # None is as the model likes
    messages: list[dict[str, Any]] = []

    def body(self, prompt: str, images: Sequence[bytes], priority: Literal["high", "normal", "low"]) -> dict[str, Any]:
        """Return the body of POST /jobs that asks the model for the next turn."""
        fields: Fields = {
            "messages": self.messages,
            "system": self.system,
            "options": self.options,
            "format": self.format,
            "think": self.think,
            "images": images,
            "priority": priority,
        }
        return body_of(self.model, prompt, fields)

    def add(self, prompt: str, images: Sequence[bytes], answer: str) -> None:
        """Add a question and its answer."""
        asked: dict[str, Any] = {"role": "user", "content": prompt}
        if images:
            asked["images"] = [base64.b64encode(image).decode() for image in images]
        self.messages += [asked, {"role": "assistant", "content": answer}]
