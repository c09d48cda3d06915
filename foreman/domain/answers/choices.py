"""Choices of a completion: their number, and messages sent in place of deltas; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.json_weight import has_more_values

Json = dict[str, Any]


def choices_asked(payload: bytes) -> int:
    """Return the number of choices that the payload of a completion asks for."""
    if has_more_values(payload):
        return 1  # a prompt as tokens: servers do not take so many prompts
    try:
        asked = _ASKED.decode(payload)
    except NOT_JSON:
        return 1
    each = asked.n if isinstance(asked.n, int) else 1
    prompts = asked.prompt if isinstance(asked.prompt, list) and asked.prompt else [""]
    return max(each, 1) * (1 if isinstance(prompts[0], int) else len(prompts))


def is_whole(choice: Json) -> bool:
    """Return True for a choice of an answer that was not streamed."""
    return choice.get("delta") is None and isinstance(choice.get("message"), dict) and bool(choice.get("finish_reason"))


class Growing:
    """The message of a choice without delta, sent in pieces or in full each time."""

    def __init__(self) -> None:
        self._texts: dict[str, str | None] = {}  # so far; None: sent in pieces
        self._calls = 0

    def news(self, message: Json) -> Json:
        """Return the delta of `message` from the messages before."""
        delta: Json = {}
        for name, item in message.items():
            if isinstance(item, str) and name != "role":
                delta[name] = self._new_text(name, item)
            elif name == "tool_calls" and isinstance(item, list):
                delta[name], self._calls = item[self._calls :], max(self._calls, len(item))
            else:
                delta[name] = item
        return delta

    def _new_text(self, name: str, text: str) -> str:
        known = self._texts.get(name, "")
        if known is None:
            return text
        if text.startswith(known):
            self._texts[name] = text
            return text[len(known) :]
        if known.startswith(text):
            return ""
        self._texts[name] = None
        return text


class _Asked(msgspec.Struct):
    n: Any = 1
    prompt: Any = None


_ASKED = msgspec.json.Decoder(_Asked)
