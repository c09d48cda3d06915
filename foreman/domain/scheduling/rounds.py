"""About the order in which the jobs of a lane's callers will run, for positions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from foreman.domain.job import CallerKey
from foreman.domain.scheduling.shares import Fairness, Shares

A_LITTLE = 1e-9

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Part:
    """One of those who share: its number of jobs, its weight, and how many rounds it is ahead."""

    size: int
    weight: float
    lead: float

    def at(self, rank: int) -> float:
        """Return the round in which its job after `rank` others ends."""
        return self.lead + (rank + 1) / self.weight

    def before(self, at: float) -> int:
        """Return how many of its jobs end before a round."""
        return min(self.size, max(0, math.floor((at - self.lead) * self.weight)))


class Rounds:
    """The callers of a lane; prompts that begin alike change little of the order."""

    def __init__(self, sizes: Mapping[CallerKey, int], shares: Shares, fairness: Fairness, usual: float) -> None:
        """`sizes` has the number of waiting jobs of each caller, `usual` the seconds of a job."""
        tokens, callers = shares.leads(sizes)
        unit = max(usual, A_LITTLE)
        self._names: dict[str, dict[CallerKey, _Part]] = {}
        for caller, size in sizes.items():
            self._names.setdefault(caller[0], {})[caller] = _Part(size, 1.0, callers[caller] / unit)
        self._tokens = {
            token: _Part(sum(part.size for part in names.values()), fairness.weight(token), tokens[token] / unit)
            for token, names in self._names.items()
        }

    def ahead(self, caller: CallerKey, rank: int) -> int:
        """Return how many jobs of the lane go before the caller's job that has `rank` older ones of its own."""
        within = _ahead(self._names[caller[0]], caller, rank)
        return _ahead(self._tokens, caller[0], within)

    def order(self, skip: int, count: int) -> Iterator[CallerKey]:
        """Yield whose turn it is, job by job, after the first `skip`."""
        names = {token: _order(parts) for token, parts in self._names.items()}
        return islice((next(names[token]) for token in _order(self._tokens)), skip, skip + count)


def _ahead(parts: Mapping[T, _Part], own: T, rank: int) -> int:
    """Return how many jobs of all parts go before one; of several in the same round that of the first part does."""
    at, ahead, a_little = parts[own].at(rank), rank, A_LITTLE
    for other, part in parts.items():
        if other == own:
            a_little = -A_LITTLE
        else:
            ahead += part.before(at + a_little)
    return ahead


def _order(parts: Mapping[T, _Part]) -> Iterator[T]:
    heap = [(part.at(0), number, name, 0) for number, (name, part) in enumerate(parts.items())]
    heapq.heapify(heap)
    while heap:
        _, number, name, rank = heap[0]
        yield name
        if rank + 1 < parts[name].size:
            heapq.heapreplace(heap, (parts[name].at(rank + 1), number, name, rank + 1))
        else:
            heapq.heappop(heap)
