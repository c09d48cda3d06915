"""A circuit breaker for each model: whether its server is given jobs, judged by how the last attempts ended; no I/O.

Closed: jobs go to the server. `FAILURES` attempts in a row, of two jobs or more, that ended for reasons of the server's
own open it: the model rests. After a pause one job is let through, to try it. When that job is answered the breaker
closes; when it fails the next pause is longer.
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
LONGEST = 600.0  # seconds: a pause is as long as the failed try before it, but no longer than this
FREE = 3600.0  # seconds from the opening in which a failed try costs its job nothing
LEAST_TIMEOUT = 1.0  # seconds; of a shorter one, set for the job, the server is not to blame


@dataclass(frozen=True, slots=True)
class Breaker:
    """What the last attempts of one model's jobs tell of its server."""

    failures: int = 0  # in a row
    first: str = ""  # the job of the first of them
    several: bool = False  # there was another job among them
    why: str = ""  # the code of the last fault; its words are for those who may see the job
    opened_at: Instant | None = None
    paused_at: Instant = 0.0
    until: Instant | None = None  # the end of the pause; None when it is over
    pauses: int = 0
    trying: str = ""  # the job that was let through
    tried_at: Instant = 0.0

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    @property
    def rests(self) -> bool:
        """Return whether no job of the model may be claimed now."""
        return self.is_open and (self.until is not None or bool(self.trying))

    def failed(self, job: str, why: str, now: Instant) -> Breaker:
        """Return it after an attempt that the server is to blame for."""
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
        """Return it after a job was claimed: of an open one, that is the one to try the server with."""
        return replace(self, trying=job, tried_at=now) if self.is_open else self

    def left(self, job: str) -> Breaker:
        """Return it after a job's attempt ended and told nothing of the server."""
        return replace(self, trying="") if job == self.trying else self

    def at(self, now: Instant) -> Breaker:
        """Return it at this time. A clock that is set back ends the pause, too."""
        over = self.until is not None and not self.paused_at <= now < self.until
        return replace(self, until=None) if over else self

    def costs_nothing(self, job: str, now: Instant) -> bool:
        """Return whether the attempt of `job`, should the server fail it now, is not to be held against the job."""
        return self.opened_at is not None and job == self.trying and 0 <= now - self.opened_at < FREE

    def _paused(self, now: Instant, took: float) -> Breaker:
        # As long as the try took: else a server that hangs would have nearly all the time, and other models none.
        pause = max(PAUSES.delay(self.pauses + 1, 0), min(took, LONGEST))
        return replace(self, paused_at=now, until=now + pause, pauses=self.pauses + 1, trying="")


Breakers: TypeAlias = Mapping[str, Breaker]  # by model; of one that is not there nothing bad is known


def is_to_blame(error: ForemanError) -> bool:
    """Return whether a fault speaks of a server that answers nothing. Odd answers and broken ones are answers."""
    if isinstance(error, TargetError) and error.began:
        return False
    if isinstance(error, AttemptTimeout):
        return error.silent and error.seconds >= LEAST_TIMEOUT
    if isinstance(error, (TargetRefused, TargetFailed)):  # the second may also be an error in an answer
        return error.status >= 500 and error.status != 501
    return isinstance(error, (TargetSilent, TargetLost, LoadTimeout))
