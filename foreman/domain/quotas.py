"""Quotas: what the jobs of one token may take, and when one that is full has room again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foreman.domain.job import Instant
from foreman.domain.usage import HOUR, MINUTE


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of a token's jobs and files; None is no limit."""

    waiting: int | None = None
    running: int | None = None
    tokens_per_hour: int | None = None  # of prompts and answers
    max_files: int | None = None  # uploaded and result files, and inputs of open batches


def counted_from(now: Instant) -> int:
    """Return the beginning of the first minute whose tokens count as used in the last hour, wholly or in part."""
    return int((now - HOUR) // MINUTE * MINUTE)


def tokens_used(by_minute: Mapping[int, int], now: Instant) -> int:
    """Return the tokens used in the last hour, given those of each minute by its beginning."""
    begin = counted_from(now)
    return sum(tokens for at, tokens in by_minute.items() if at >= begin)


def seconds_until_below(limit: int, by_minute: Mapping[int, int], now: Instant) -> float:
    """Return the seconds until less than `limit` tokens count as used in the last hour, if no more are used."""
    used, free_at = tokens_used(by_minute, now), now
    for at in sorted(at for at in by_minute if at >= counted_from(now)):
        if used < limit:
            break
        used -= by_minute[at]
        free_at = at + MINUTE + HOUR
    return free_at - now
