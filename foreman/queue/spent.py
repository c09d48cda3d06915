"""What the jobs of a token have used, as the store has it."""

from __future__ import annotations

from foreman.domain.job import Instant
from foreman.domain.quotas import counted_from
from foreman.domain.usage import MINUTE, MOST_GROUPS
from foreman.store.protocol import Reader


def tokens_by_minute(store: Reader, owner: str, now: Instant) -> dict[int, int]:
    """Return the tokens, of prompts and answers, that a token's jobs used in the last hour, by minute."""
    begin, end, only = counted_from(now), int(now) + MINUTE, {"caller": owner}
    rows = store.usage(step=MINUTE, begin=begin, end=end, by=None, limit=MOST_GROUPS, only=only)
    return {row.at: row.figures.prompt_tokens + row.figures.answer_tokens for row in rows}
