"""Decisions about retries and backoff after errors, as pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from foreman.domain.errors import Cost, ForemanError, TargetError

LEAST_WAIT = 1.0  # seconds; retrying a busy target at once would be a busy loop
RETRY_AFTER_CAP = 120.0  # seconds; clients and targets treat longer waits as "never"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first` to `longest` seconds, each moved by up to ±`jitter` of itself."""

    first: float
    longest: float
    jitter: float = 0.2

    def delay(self, tries: int, chance: float) -> float:
        """Return the seconds to wait after failure number `tries` (1, 2, …); `chance` is a random number in [0, 1)."""
        plain = min(self.longest, self.first * 2.0 ** min(tries - 1, 60))
        return plain * (1 + self.jitter * (2 * chance - 1))


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds to wait by a Retry-After header (RFC 9110 section 10.2.3), or None if it is unreadable.

    `now` is in epoch seconds.
    """
    value = (value or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):  # all raised by the parser, depending on the date
        return None


@dataclass(frozen=True, slots=True)
class Again:
    """Decision: try again."""

    wait: float  # seconds
    spent: bool  # True when the attempt counts


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision: fail."""


def after(error: ForemanError, *, attempt: int, max_attempts: int, backoff: Backoff, chance: float) -> Again | GiveUp:
    """Decide about the retry after attempt number `attempt` of `max_attempts` ended with `error`."""
    asked = error.retry_after if isinstance(error, TargetError) else None
    if error.cost is Cost.JOB:
        return GiveUp()
    if error.cost is Cost.ATTEMPT:
        if attempt >= max_attempts:
            return GiveUp()
        wait = max(backoff.delay(attempt, chance), min(asked or 0, RETRY_AFTER_CAP))
        return Again(wait=wait, spent=True)
    if error.code in ("target_busy", "shortage", "memory_full"):
        wait = min(asked, RETRY_AFTER_CAP) if asked is not None else backoff.delay(1, chance)
        return Again(wait=max(wait, LEAST_WAIT), spent=False)
    return Again(wait=0, spent=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of one attempt to deliver a webhook."""

    status: int | None = None  # None: no answer
    error: str | None = None
    retry_after: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Delivered:
    """Decision: the receiver accepted the webhook."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Decision: send no more webhooks of this job, as the receiver asked (410)."""


def after_sending(
    sent: Sent, *, attempts: int, retries: int, backoff: Backoff, chance: float
) -> Delivered | Stop | Again | GiveUp:
    """Decide about the retry after delivery attempt number `attempts`; `retries` are allowed after the first."""
    if sent.status is not None and 200 <= sent.status < 300:
        return Delivered()
    if sent.status == 410:
        return Stop()
    if attempts > retries:
        return GiveUp()
    wait = backoff.delay(attempts, chance)
    if sent.retry_after is not None:
        wait = min(max(wait, sent.retry_after), max(RETRY_AFTER_CAP, backoff.longest))
    return Again(wait=wait, spent=True)
