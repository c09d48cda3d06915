"""The words in an answer, whichever endpoint's shape it has; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def text_of(value: Any) -> str:
    """The text in a chunk of a stream or in a final answer; empty when it has none."""
    return _first(
        at(value, "message", "content"),  # /api/chat
        at(value, "response"),  # /api/generate
        at(value, "choices", 0, "delta", "content"),  # /v1/chat/completions, streamed
        at(value, "choices", 0, "message", "content"),
        at(value, "choices", 0, "text"),  # /v1/completions
        at(value, "delta") if at(value, "type") == "response.output_text.delta" else None,  # /v1/responses, streamed
        at(value, "delta", "text") if at(value, "type") == "content_block_delta" else None,  # /v1/messages, streamed
        "".join(_blocks(value)),
    )


def thinking_of(value: Any) -> str:
    """What a reasoning model says to itself in a chunk or a final answer."""
    choice = at(value, "choices", 0, "delta") or at(value, "choices", 0, "message")
    return _first(
        at(value, "message", "thinking"),
        at(value, "thinking"),
        at(choice, "reasoning_content"),
        at(choice, "reasoning"),
        at(value, "delta", "thinking"),
    )


def _blocks(value: Any) -> Iterable[str]:
    """The text blocks of a whole answer of /v1/messages or /v1/responses."""
    if at(value, "type") == "message":
        blocks = _list(at(value, "content"))
    elif at(value, "object") == "response":
        blocks = [block for item in _list(at(value, "output")) for block in _list(at(item, "content"))]
    else:
        return
    for block in blocks:
        if isinstance(text := at(block, "text"), str):
            yield text


def _first(*found: Any) -> str:
    return next((text for text in found if isinstance(text, str) and text), "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def at(value: Any, *path: str | int) -> Any:
    """What is found in a JSON value along `path`; None where it does not go on."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
