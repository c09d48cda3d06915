"""How many tokens a final answer says were read and written; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.usage import NO_TOKENS, Tokens

MOST_TOKENS = 10**9  # that one answer is believed to have


def tokens(answer: bytes) -> Tokens:
    """Return the tokens that a final answer tells, in the words of whichever API; 0 where it does not say.

    OpenAI's APIs count the cached tokens among those of the prompt, Anthropic's beside them.
    """
    try:
        counted = _COUNTED.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NO_TOKENS
    usage = counted.usage if isinstance(counted.usage, dict) else {}
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    read_before = _count(usage.get("cache_read_input_tokens"))
    beside = read_before + _count(usage.get("cache_creation_input_tokens"))
    prompt = (
        _count(counted.prompt_eval_count)
        or _count(usage.get("prompt_tokens"))
        or min(_count(usage.get("input_tokens")) + beside, MOST_TOKENS)
    )
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else read_before
    written = _count(counted.eval_count) or _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))
    return Tokens(prompt, min(cached, prompt), written)


def _count(said: object) -> int:
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not 0 <= said < float("inf"):
        return 0
    return min(int(said), MOST_TOKENS)


class _Counted(msgspec.Struct):
    prompt_eval_count: Any = 0
    eval_count: Any = 0
    usage: Any = None


_COUNTED = msgspec.json.Decoder(_Counted)
