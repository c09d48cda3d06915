"""Token counts of an answer: prompt, cached and written; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.searched_text import request_bytes
from foreman.domain.usage import NO_TOKENS, Tokens

MOST_USAGE = 2**14  # bytes of the usage in an answer
MOST_TOKENS = 10**9  # in one answer; a larger count is cut to this
BYTES_OF_TOKEN = 4  # of text in English, roughly


def tokens(answer: bytes) -> Tokens:
    """Return the token counts of a final answer of any API; 0 for a count that it lacks.

    OpenAI's APIs include the cached tokens in those of the prompt, Anthropic's API counts them separately.
    """
    try:
        counted = _COUNTED.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NO_TOKENS
    usage = _value(counted.usage)
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    read_before = _count(usage.get("cache_read_input_tokens"))
    beside = read_before + _count(usage.get("cache_creation_input_tokens"))
    prompt = (
        _count(_value(counted.prompt_eval_count))
        or _count(usage.get("prompt_tokens"))
        or min(_count(usage.get("input_tokens")) + beside, MOST_TOKENS)
    )
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else read_before
    written = (
        _count(_value(counted.eval_count))
        or _count(usage.get("completion_tokens"))
        or _count(usage.get("output_tokens"))
    )
    counts_cached = (isinstance(details, dict) and "cached_tokens" in details) or "cache_read_input_tokens" in usage
    return Tokens(prompt, min(cached, prompt), written, counts_cached)


def estimated_tokens(payload: bytes, chunks: int) -> Tokens:
    """Return about how many tokens a request took whose answer was broken off after so many chunks.

    Servers count tokens at the end of an answer. Until then a chunk is a token, as a rule.
    """
    return Tokens(prompt=request_bytes(payload) // BYTES_OF_TOKEN, answer=chunks)


def _value(raw: msgspec.Raw) -> Any:
    """Return a decoded value, None if it is larger than MOST_USAGE or out of range."""
    try:
        return msgspec.json.decode(raw) if len(memoryview(raw)) <= MOST_USAGE else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        return 0
    return min(int(value), MOST_TOKENS)


_NULL = msgspec.Raw(b"null")


class _Counted(msgspec.Struct):
    prompt_eval_count: msgspec.Raw = _NULL
    eval_count: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


_COUNTED = msgspec.json.Decoder(_Counted)
