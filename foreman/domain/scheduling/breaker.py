"""A circuit breaker per model, driven by the outcomes of its last attempts; no I/O.

Closed: jobs go to the server. `FAILURES` failures in a row that the server is to blame for, in two jobs or more, open
it: the model rests. After a pause one job is let through as a trial. Its success closes the breaker; its failure starts
a longer pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from foreman.domain.errors import (
    AttemptTimeout,
    ForemanError,
    LoadTimeout,
    TargetError,
    TargetFailed,
    TargetLost,
    TargetRefused,
    TargetSilent,
)
from foreman.domain.job import Instant
from foreman.domain.retry import Backoff

FAILURES = 3  # in a row
PAUSES = Backoff(5, 120, jitter=0)
LONGEST = 600.0  # seconds: a pause lasts as long as the failed trial before it, up to this
FREE = 3600.0  # seconds after opening during which failed trials do not count as attempts
LEAST_TIMEOUT = 1.0  # seconds; a shorter timeout set by the job is not the server's failure


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one model's breaker."""

    failures: int = 0  # in a row
    first: str = ""  # the job of the first failure
    several: bool = False  # True when another job failed too
    why: str = ""  # the code of the last error; its text may be private to the job's owner
    opened_at: Instant | None = None
    paused_at: Instant = 0.0
    until: Instant | None = None  # the end of the pause; None when it is over
    pauses: int = 0
    trying: str = ""  # the trial job
    tried_at: Instant = 0.0

    @property
    def is_open(self) -> bool:
        """Return True once enough attempts have failed."""
        return self.opened_at is not None

    @property
    def rests(self) -> bool:
        """Return True when no job of the model may be claimed now."""
        return self.is_open and (self.until is not None or bool(self.trying))

    def failed(self, job: str, why: str, now: Instant) -> Breaker:
        """Return the breaker after a failure that the server is to blame for."""
        counted = replace(
            self,
            failures=self.failures + 1,
            first=self.first or job,
            several=self.several or (bool(self.first) and job != self.first),
            why=why,
        )
        if self.is_open:
            return counted._paused(now, now - self.tried_at) if job == self.trying else counted
        if counted.several and counted.failures >= FAILURES:
            return replace(counted, opened_at=now)._paused(now, 0)
        return counted

    def claimed(self, job: str, now: Instant) -> Breaker:
        """Return the breaker after a claim; if it is open, the job becomes the trial."""
        return replace(self, trying=job, tried_at=now) if self.is_open else self

    def left(self, job: str) -> Breaker:
        """Return the breaker after an attempt whose outcome does not concern the server."""
        return replace(self, trying="") if job == self.trying else self

    def at(self, now: Instant) -> Breaker:
        """Return the breaker at the time `now`. A clock that is set back ends the pause too."""
        over = self.until is not None and not self.paused_at <= now < self.until
        return replace(self, until=None) if over else self

    def costs_nothing(self, job: str, now: Instant) -> bool:
        """Return True when a failure of `job` now must not count as an attempt."""
        return self.opened_at is not None and job == self.trying and 0 <= now - self.opened_at < FREE

    def _paused(self, now: Instant, took: float) -> Breaker:
        # At least as long as the trial took, or a hanging server would take nearly all the time of other models.
        pause = max(PAUSES.delay(self.pauses + 1, 0), min(took, LONGEST))
        return replace(self, paused_at=now, until=now + pause, pauses=self.pauses + 1, trying="")


Breakers: TypeAlias = Mapping[str, Breaker]  # by model; models without failures are absent


def is_to_blame(error: ForemanError) -> bool:
    """Return True for an error of a server that does not answer. Malformed and broken-off answers are answers."""
    if isinstance(error, TargetError) and error.began:
        return False
    if isinstance(error, AttemptTimeout):
        return error.silent and error.seconds >= LEAST_TIMEOUT
    if isinstance(error, (TargetRefused, TargetFailed)):  # TargetFailed without a status is an error in an answer
        return error.status >= 500 and error.status != 501
    return isinstance(error, (TargetSilent, TargetLost, LoadTimeout))
