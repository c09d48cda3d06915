"""The words in an answer, whichever endpoint's shape it has; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def text_of(value: Any) -> str:
    """The text in a chunk of a stream or in a final answer; empty when it has none."""
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
    """What a reasoning model says to itself in a chunk or a final answer."""
    choice = _at(value, "choices", 0, "delta") or _at(value, "choices", 0, "message")
    return _first(
        _at(value, "message", "thinking"),
        _at(value, "thinking"),
        _at(choice, "reasoning_content"),
        _at(choice, "reasoning"),
        _at(value, "delta", "thinking"),
    )


def _blocks(value: Any) -> Iterable[str]:
    """The text blocks of a whole answer of /v1/messages or /v1/responses."""
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
