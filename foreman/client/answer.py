"""What is in an answer beside its words, whichever endpoint's shape it has; no I/O."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from foreman.client.reading import decode
from foreman.client.text import at


class ToolCall(msgspec.Struct, frozen=True):
    """A function that the model wants called."""

    name: str
    arguments: dict[str, Any]


class Usage(msgspec.Struct, frozen=True):
    """How many tokens went in and came out; 0 where the target does not say."""

    prompt_tokens: int = 0
    answer_tokens: int = 0


def tool_calls_of(value: Any) -> list[ToolCall]:
    """The calls of functions in a final answer, in its order."""
    message = at(value, "message") or at(value, "choices", 0, "message")
    functions = [at(call, "function") for call in _list(at(message, "tool_calls"))]  # /api/chat, /v1/chat/completions
    functions += [item for item in _list(at(value, "output")) if at(item, "type") == "function_call"]  # /v1/responses
    functions += [block for block in _list(at(value, "content")) if at(block, "type") == "tool_use"]  # /v1/messages
    return [ToolCall(str(at(found, "name")), _arguments(found)) for found in functions]


def embeddings_of(value: Any) -> list[list[float]]:
    """The vectors of /api/embed and /v1/embeddings, one for each input."""
    return _list(at(value, "embeddings")) or [_list(at(entry, "embedding")) for entry in _list(at(value, "data"))]


def usage_of(value: Any) -> Usage:
    usage = at(value, "usage") or value
    return Usage(
        _count(usage, "prompt_eval_count", "prompt_tokens", "input_tokens"),
        _count(usage, "eval_count", "completion_tokens", "output_tokens"),
    )


def _arguments(function: Any) -> dict[str, Any]:
    """They are an object on /api/chat, its JSON on /v1/*, and `input` on /v1/messages."""
    found: Any = at(function, "arguments") or at(function, "input") or {}
    if isinstance(found, str):
        try:
            found = decode(found, object)
        except msgspec.DecodeError:  # models make mistakes
            found = {"": found}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"": found}


def _count(value: Any, *names: str) -> int:
    return next((found for name in names if isinstance(found := at(value, name), int)), 0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
