"""How long things take: what was learned of jobs and loads, and what the jobs at work will still take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from foreman.domain.job import Instant, Job, LoadKey
from foreman.domain.scheduling import forecast, load_times
from foreman.domain.scheduling.forecast import Forecasts, Kind
from foreman.domain.scheduling.load_times import LoadTimes
from foreman.queue.at_work import AtWork, never_shown, not_begun
from foreman.queue.commands import FORECASTS, LOADS
from foreman.store.protocol import Reader

USUAL = 1.0  # seconds assumed for a job of an unknown load key
USUAL_LOAD = 5.0  # seconds assumed for a load before any was seen


class Durations:
    """What is known of how long jobs and loads take, and the jobs at work.

    The queue's thread and the workers write, any thread reads. Each attribute is replaced as a whole, never mutated.
    """

    def __init__(self) -> None:
        self.load_times = LoadTimes()
        self.forecasts = Forecasts()
        self.at_work: Mapping[str, AtWork] = {}  # by job
        self._known = self.forecasts, self.forecasts.typical()
        self._kept = self.forecasts  # as they were stored last

    def recall(self, store: Reader, name_of: Callable[[str], str] = str) -> None:
        """Take over what was stored in notes; `name_of` returns the name of this node's own.

        Forecasts are taken over only while none are known, since they do not change with the store.
        """
        self.load_times = load_times.decoded(store.note(name_of(LOADS)))
        if not self.forecasts.lengths:
            self.forecasts = self._kept = forecast.decoded(store.note(name_of(FORECASTS)))

    def unstored(self) -> str | None:
        """Return the forecasts to be stored in a note, or None if they are as they were at the last call."""
        if self._kept is self.forecasts:
            return None
        self._kept = self.forecasts
        return self._kept.encoded()

    def usual(self, key: LoadKey) -> float:
        """Return the usual seconds of a job of the key once it is loaded; USUAL while nothing is known."""
        known = self.forecasts.usual(key)
        return USUAL if known is None else known

    def expected(self, kind: Kind, target: str, *, again: bool | None = None) -> float:
        """Return how long such a job is expected to take on a target; USUAL while nothing is known of its key."""
        known = self.forecasts.seconds(kind, target, again=again)
        return USUAL if known is None else known

    def typical(self) -> float | None:
        """Return the usual seconds of a job of the keys that were used last, or None while none are known."""
        forecasts, typical = self._known
        if forecasts is not self.forecasts:
            forecasts = self.forecasts
            typical = forecasts.typical()
            self._known = forecasts, typical
        return typical

    def rest_of(self, job_id: str, now: Instant) -> float:
        """Return the expected seconds until a running job has ended; without end when nothing is known of it."""
        at_work = self.at_work.get(job_id)
        rest = None if at_work is None else self.rest(at_work, now)
        return math.inf if rest is None else rest

    def rest(self, at_work: AtWork, now: Instant) -> float | None:
        """Return the expected seconds from now, or from its request, until a job has ended; None for an unknown key."""
        expected = self.forecasts.of(at_work.kind, at_work.target)
        return None if expected is None else expected.rest(at_work.took(now), at_work.first_chunk())

    def load_seconds(self, target: str, key: LoadKey) -> float:
        """Return about how many seconds the target takes to load the key."""
        known = self.load_times.of(target, key)
        return known if known is not None else self.load_times.usual(key) or USUAL_LOAD

    def claimed(
        self,
        job: Job,
        now: Instant,
        shown: Callable[[], bool] = never_shown,
        first_chunk: Callable[[], float | None] = not_begun,
    ) -> None:
        """Record that a slot has the job.

        Args:
            job: The job.
            now: The time.
            shown: Returns True once somebody has seen a part of its answer.
            first_chunk: Returns the seconds from the request to the beginning of the answer, None until then.
        """
        at_work = AtWork(Kind.of(job), now, job.target or "", job.fence, shown=shown, first_chunk=first_chunk)
        self.at_work = {**self.at_work, job.id: at_work}

    def began(self, job_id: str, now: Instant) -> None:
        """Record that the target has the job's request and its model is loaded."""
        if job_id in self.at_work:
            self.at_work = {**self.at_work, job_id: replace(self.at_work[job_id], began_at=now)}

    def ended(self, job_id: str) -> None:
        """Record that the job has left its slot."""
        self.at_work = {name: at_work for name, at_work in self.at_work.items() if name != job_id}

    def forget(self, target: str) -> None:
        """Forget the jobs in the slots of a target, whose worker starts anew."""
        self.at_work = {name: at_work for name, at_work in self.at_work.items() if at_work.target != target}

    def learn(self, job: Job, *, seconds: float, tokens: int, before: float = 0.0, again: bool = False) -> None:
        """Learn from a successful job; see `Forecasts.learned`."""
        self.forecasts = self.forecasts.learned(
            Kind.of(job), job.target or "", seconds=seconds, before=before, tokens=tokens, again=again
        )
