"""Read text, thinking, tool calls, embeddings and usage from the answer of any endpoint; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from foreman.client.reading import decode
from foreman.domain.views import JobUsage


class ToolCall(msgspec.Struct, frozen=True):
    """A function call that the model requests."""

    name: str
    arguments: dict[str, Any]


class Usage(msgspec.Struct, frozen=True):
    """Token counts of prompt and answer, 0 where the target reports none, and how fast the answer came."""

    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0  # of the prompt's
    first_token_seconds: float | None = None  # from the request to the target until the answer began
    tokens_per_second: float | None = None  # of the answer, once it had begun


def text_of(value: Any) -> str:
    """Return the text of a stream chunk or a final answer; empty when it has none."""
    return _first(
        _at(value, "message", "content"),  # /api/chat
        _at(value, "response"),  # /api/generate
        _at(value, "choices", 0, "delta", "content"),  # /v1/chat/completions, streamed
        _at(value, "choices", 0, "message", "content"),
        _at(value, "choices", 0, "text"),  # /v1/completions
        _at(value, "delta") if _at(value, "type") == "response.output_text.delta" else None,  # /v1/responses, streamed
        _at(value, "delta", "text") if _at(value, "type") == "content_block_delta" else None,  # /v1/messages, streamed
        "".join(_blocks(value)),
    )


def thinking_of(value: Any) -> str:
    """Return the reasoning text of a stream chunk or a final answer; empty when it has none."""
    choice = _at(value, "choices", 0, "delta") or _at(value, "choices", 0, "message")
    return _first(
        _at(value, "message", "thinking"),
        _at(value, "thinking"),
        _at(choice, "reasoning_content"),
        _at(choice, "reasoning"),
        _at(value, "delta", "thinking"),
    )


def tool_calls_of(value: Any) -> list[ToolCall]:
    """Return the tool calls of a final answer, in order."""
    message = _at(value, "message") or _at(value, "choices", 0, "message")
    functions = [_at(call, "function") for call in _list(_at(message, "tool_calls"))]  # /api/chat, /v1/chat/completions
    functions += [item for item in _list(_at(value, "output")) if _at(item, "type") == "function_call"]  # /v1/responses
    functions += [block for block in _list(_at(value, "content")) if _at(block, "type") == "tool_use"]  # /v1/messages
    return [ToolCall(str(_at(found, "name")), _arguments(found)) for found in functions]


def embeddings_of(value: Any) -> list[list[float]]:
    """Return the vectors of /api/embed or /v1/embeddings, one for each input."""
    return _list(_at(value, "embeddings")) or [_list(_at(entry, "embedding")) for entry in _list(_at(value, "data"))]


def usage_of(value: Any) -> Usage:
    """Return the token counts of a final answer."""
    usage = _at(value, "usage") or value
    return Usage(
        _count(usage, "prompt_eval_count", "prompt_tokens", "input_tokens"),
        _count(usage, "eval_count", "completion_tokens", "output_tokens"),
    )


def known_usage(used: JobUsage) -> Usage:
    """Return the usage of a job as Foreman tells it."""
    return Usage(
        used.prompt_tokens or 0,
        used.answer_tokens or 0,
        used.cached_tokens or 0,
        used.first_token_seconds,
        used.tokens_per_second,
    )


def _blocks(value: Any) -> Iterable[str]:
    """Yield the text blocks of a final answer of /v1/messages or /v1/responses."""
    if _at(value, "type") == "message":
        blocks = _list(_at(value, "content"))
    elif _at(value, "object") == "response":
        blocks = [block for item in _list(_at(value, "output")) for block in _list(_at(item, "content"))]
    else:
        return
    for block in blocks:
        if isinstance(text := _at(block, "text"), str):
            yield text


def _first(*found: Any) -> str:
    return next((text for text in found if isinstance(text, str) and text), "")


def _arguments(function: Any) -> dict[str, Any]:
    """Return the arguments of a tool call: an object on /api/chat, JSON text on /v1/*, `input` on /v1/messages."""
    found: Any = _at(function, "arguments") or _at(function, "input") or {}
    if isinstance(found, str):
        try:
            found = decode(found, object)
        except msgspec.DecodeError:  # models do not always write valid JSON
            found = {"": found}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"": found}


def _count(value: Any, *names: str) -> int:
    return next((found for name in names if isinstance(found := _at(value, name), int)), 0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, *path: str | int) -> Any:
    """Return the JSON value at `path`; None where the path ends early."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
