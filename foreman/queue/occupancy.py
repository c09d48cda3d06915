"""What runs where: the running jobs, counted in the ways that claims are decided by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from foreman.domain.job import Job, LoadKey

T = TypeVar("T")


class Occupancy:
    """The numbers of running jobs. Each change costs the same, however many jobs run."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.by_owner: Counter[str] = Counter()
        self._keys: dict[str, Counter[LoadKey]] = {}  # by target; without zeros
        self._classes: dict[str, Counter[int]] = {}
        for job in jobs:
            self.add(job)

    def keys(self, target: str) -> Counter[LoadKey]:
        """Return the load keys that a target works on, each with its number of jobs."""
        return self._keys.get(target) or Counter()

    def classes(self, target: str) -> Counter[int]:
        """Return the classes of a target's jobs, each with its number of jobs."""
        return self._classes.get(target) or Counter()

    def add(self, job: Job) -> None:
        """Count a job that begins to run."""
        target = job.target or ""
        if target not in self._keys:
            self._keys[target], self._classes[target] = Counter(), Counter()
        self._keys[target][job.key] += 1
        self._classes[target][int(job.priority)] += 1
        self.by_owner[job.owner] += 1

    def remove(self, job: Job) -> None:
        """Count a job no more; it is given as it ran."""
        target = job.target or ""
        _less(self._keys[target], job.key)
        _less(self._classes[target], int(job.priority))
        _less(self.by_owner, job.owner)


def _less(counts: Counter[T], one: T) -> None:
    counts[one] -= 1
    if not counts[one]:
        del counts[one]
