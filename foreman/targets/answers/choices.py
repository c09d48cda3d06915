"""The choices of a completion: how many were asked for, and messages that stand where deltas should; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.json_weight import has_more_values
from foreman.targets.answers.refusals import NOT_JSON

Json = dict[str, Any]


def choices_asked(payload: bytes) -> int:
    """Return how many choices a payload of COMPLETIONS asks for."""
    if has_more_values(payload):
        return 1  # token by token: no server takes so many prompts
    try:
        asked = _ASKED.decode(payload)
    except NOT_JSON:
        return 1
    each = asked.n if isinstance(asked.n, int) else 1
    prompts = asked.prompt if isinstance(asked.prompt, list) and asked.prompt else [""]
    return max(each, 1) * (1 if isinstance(prompts[0], int) else len(prompts))


def is_whole(choice: Json) -> bool:
    """Return True for the choice of an answer that was not streamed."""
    return choice.get("delta") is None and isinstance(choice.get("message"), dict) and bool(choice.get("finish_reason"))


class Growing:
    """The message of a choice that has no delta: what is new in it, whether it is told anew each time or in pieces."""

    def __init__(self) -> None:
        self._texts: dict[str, str | None] = {}  # so far; None: it comes in pieces
        self._calls = 0

    def news(self, message: Json) -> Json:
        """Return the delta from what was told before."""
        told: Json = {}
        for name, item in message.items():
            if isinstance(item, str) and name != "role":
                told[name] = self._new_text(name, item)
            elif name == "tool_calls" and isinstance(item, list):
                told[name], self._calls = item[self._calls :], max(self._calls, len(item))
            else:
                told[name] = item
        return told

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
