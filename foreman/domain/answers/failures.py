"""Failures that servers report inside an answer with status 200; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.answers.refusals import message_of

# Exceptions from reading a value of another shape than expected, and from numbers out of range.
ODD = (TypeError, AttributeError, LookupError, ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError)
NO_MESSAGE = "an error without a message"
FAILURES = ("error", "response.error", "response.failed", "response.cancelled")  # types of values that report one
# Finish reasons of failed answers: of vLLM and SGLang, then of DeepSeek and Zhipu.
_REASONS = ("error", "abort", "failed", "insufficient_system_resource", "network_error")
MESSAGE_KEYS = ("detail", "message", "text", "reason", "msg", "error_message", "error_msg", "errors", "error_code")


def error_message(value: dict[str, Any]) -> str:
    """Return the message of an error value, from the first key that has one."""
    response = value.get("response")
    if isinstance(response, dict) and not value.get("error"):
        return message_of({"error": response.get("error")}) or NO_MESSAGE
    message = next((value[name] for name in ("error", *MESSAGE_KEYS) if value.get(name)), None)
    return (message_of({"error": message}) if message else message_of(value)) or NO_MESSAGE


def bad_ending(name: str, reason: Any) -> str | None:
    """Return the message of a reason for the end that is a failure, else None."""
    kind = reason.get("type") if isinstance(reason, dict) else reason  # SGLang sends an object
    if kind not in _REASONS:
        return None
    return error_message(reason) if isinstance(reason, dict) else f"{name} is {reason}"
