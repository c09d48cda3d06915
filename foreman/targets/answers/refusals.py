"""Which fault an answer that is not a 2xx stands for, in the target's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from foreman.domain.errors import TargetBusy, TargetError, TargetFailed, TargetRefused
from foreman.domain.retry import RETRY_AFTER_CAP, retry_after

MAX_WORDS = 500  # characters of the target's own text that are kept
# What msgspec raises for bytes that are not the JSON they should be: broken, of another shape, or nested too deeply.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
BUSY = frozenset({429, 503})
PASSING = frozenset({408, 425})  # 4xx by which a server or a proxy says that it was the moment, not the request
DISPUTED = frozenset({409, 423})  # likewise, if it says so

_AGAIN = re.compile(r"\btry(ing)? again\b|(?<!not )(?<!n't )\bretry\b|\btry later\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def error_of(target: str, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> TargetError:
    """The fault a status other than 2xx stands for; `headers` have lower-case names, `now` is in epoch seconds."""
    asked = retry_after(headers.get("retry-after"), now)
    error = _error(target, status, words_of(body), None if asked is None else min(asked, RETRY_AFTER_CAP))
    error.status, error.body = status, body
    return error


def _error(target: str, status: int, words: str, wait: float | None) -> TargetError:
    if status in BUSY:
        return TargetBusy(target, wait)
    disputed = status in DISPUTED and (wait is not None or _AGAIN.search(words))
    if disputed or status in PASSING or (status >= 500 and status != 501):
        error = TargetFailed(target, words or f"status {status}")
        error.retry_after = wait
        return error
    if status >= 400:
        return TargetRefused(status, words or f"{target} answered {status}")
    return TargetRefused(status, f"{target} answered {status}, which is not followed")


def words_of(body: bytes) -> str:
    """What an error body says: `{"error": {"message": …}}`, `{"error": "…"}`, `{"message": …}` or plain text."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        text = body[: 4 * MAX_WORDS].decode("utf-8", "replace")
        return "" if text.lstrip().startswith("<") else clean(text)
    return said(value)


def said(value: object) -> str:
    """The words in a decoded error value of any of the known shapes."""
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
    """`text` on one line without control characters, at most MAX_WORDS characters."""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"
