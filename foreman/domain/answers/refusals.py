"""Errors for answers other than 2xx, with the target's own message."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from foreman.domain.errors import TargetBusy, TargetError, TargetFailed, TargetRefused
from foreman.domain.retry import RETRY_AFTER_CAP, retry_after

MAX_MESSAGE = 500  # characters kept of the target's message
# Exceptions of msgspec for broken JSON, JSON of another shape, and JSON nested too deeply.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
BUSY = frozenset({429, 503})
PASSING = frozenset({408, 425})  # 4xx about the moment, not the request
DISPUTED = frozenset({409, 423})  # likewise, if the message asks for a retry

_AGAIN = re.compile(r"\btry(ing)? again\b|(?<!not )(?<!n't )\bretry\b|\btry later\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def error_of(target: str, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> TargetError:
    """Return the error of a status other than 2xx; `headers` have lower-case names, `now` is in epoch seconds."""
    asked = retry_after(headers.get("retry-after"), now)
    error = _error(target, status, message_in(body), None if asked is None else min(asked, RETRY_AFTER_CAP))
    error.status, error.body = status, body
    return error


def _error(target: str, status: int, message: str, wait: float | None) -> TargetError:
    if status in BUSY:
        return TargetBusy(target, wait)
    disputed = status in DISPUTED and (wait is not None or _AGAIN.search(message))
    if disputed or status in PASSING or (status >= 500 and status != 501):
        error = TargetFailed(target, message or f"status {status}")
        error.retry_after = wait
        return error
    if status >= 400:
        return TargetRefused(status, message or f"{target} answered {status}")
    return TargetRefused(status, f"{target} answered {status}, which is not followed")


def message_in(body: bytes) -> str:
    """Return the message of an error body: JSON of a known shape, or plain text.

    Known shapes are `{"error": {"message": …}}`, `{"error": "…"}`, `{"message": …}` and `{"detail": …}`.
    """
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        text = body[: 4 * MAX_MESSAGE].decode("utf-8", "replace")
        return "" if text.lstrip().startswith("<") else clean(text)
    return message_of(value)


def message_of(value: object) -> str:
    """Return the message of a decoded error value of any known shape."""
    for _ in range(4):
        if not isinstance(value, dict):
            break
        value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), value)
        if isinstance(value, dict) and not any(value.get(name) for name in ("error", "message", "detail")):
            break
    if value is None or value == {}:
        return ""
    return clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def clean(text: str) -> str:
    """Return `text` on one line without control characters, at most MAX_MESSAGE characters."""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
