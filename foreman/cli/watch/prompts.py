"""The question in a request to a target; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def last_question(request: Mapping[str, Any]) -> str:
    """Return the text of the last turn of the user, or of the input of an endpoint without turns."""
    turns = request.get("messages", request.get("input", request.get("prompt", "")))
    if isinstance(turns, str):
        return turns
    if not isinstance(turns, list):
        return ""
    asked = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    if asked:
        return _words(asked[-1].get("content"))
    return "\n".join(turn for turn in turns if isinstance(turn, str))


def _words(content: Any) -> str:
    if isinstance(content, list):  # parts: text, and images that cannot be shown
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""
