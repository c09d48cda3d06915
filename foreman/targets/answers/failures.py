"""Failures that servers report inside an answer with status 200; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.endpoints import COMPLETIONS, NATIVE, Endpoint
from foreman.targets.answers.refusals import message_of

# Exceptions from reading a value of another shape than expected, and from numbers out of range.
ODD = (TypeError, AttributeError, LookupError, ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError)
NO_MESSAGE = "an error without a message"
_TYPES = ("error", "response.error", "response.failed", "response.cancelled")
# Finish reasons of failed answers: of vLLM and SGLang, then of DeepSeek and Zhipu.
_REASONS = ("error", "abort", "failed", "insufficient_system_resource", "network_error")
_MESSAGE_KEYS = ("detail", "message", "text", "reason", "msg", "error_message", "error_msg", "errors", "error_code")
_CONTENT: dict[str, frozenset[str]] = {  # each value of an answer has one of these keys
    "/api/chat": frozenset({"message", "done"}),
    "/api/generate": frozenset({"response", "done"}),
    "/api/embed": frozenset({"embeddings"}),
    "/v1/embeddings": frozenset({"data"}),
    "/v1/responses": frozenset({"type", "object", "output"}),
    "/v1/messages": frozenset({"type", "content"}),
}


def failure(endpoint: Endpoint, value: dict[str, Any]) -> str | None:
    """Return the server's message if a value of an answer reports a failure, else None."""
    if value.get("error") or value.get("type") in _TYPES or value.get("object") == "error":
        return error_message(value)
    if endpoint in COMPLETIONS:
        return _of_choices(value)
    if endpoint == "/v1/responses":
        response = value.get("response", value)
        if isinstance(response, dict) and response.get("status") in ("failed", "cancelled"):
            return error_message(response)
    if endpoint == "/v1/messages" and (why := _bad_ending("stop_reason", _stop_reason(value))):
        return why
    if endpoint in NATIVE and (why := _bad_ending("done_reason", value.get("done_reason"))):
        return why
    if _CONTENT[endpoint].isdisjoint(value) or (endpoint == "/api/chat" and isinstance(value.get("message"), str)):
        return error_message(value) if any(value.get(name) for name in _MESSAGE_KEYS) else None
    return None


def error_message(value: dict[str, Any]) -> str:
    """Return the message of an error value, from the first key that has one."""
    response = value.get("response")
    if isinstance(response, dict) and not value.get("error"):
        return message_of({"error": response.get("error")}) or NO_MESSAGE
    message = next((value[name] for name in ("error", *_MESSAGE_KEYS) if value.get(name)), None)
    return (message_of({"error": message}) if message else message_of(value)) or NO_MESSAGE


def _of_choices(value: dict[str, Any]) -> str | None:
    choices = value.get("choices")
    if not choices:
        if value.get("usage") or not any(value.get(name) for name in _MESSAGE_KEYS):
            return None
        return error_message(value)
    for choice in choices:
        if choice.get("error"):
            return error_message(choice)
        if why := _bad_ending("finish_reason", choice.get("finish_reason")):
            return why
    return None


def _stop_reason(value: dict[str, Any]) -> Any:
    return (value["delta"] if value.get("type") == "message_delta" else value).get("stop_reason")


def _bad_ending(name: str, reason: Any) -> str | None:
    kind = reason.get("type") if isinstance(reason, dict) else reason  # SGLang sends an object
    if kind not in _REASONS:
        return None
    return error_message(reason) if isinstance(reason, dict) else f"{name} is {reason}"
