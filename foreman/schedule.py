"""The order of work: which job goes next, decided from the heads of every lane.

A lane is one drain key at one priority. In force, in this order:

1. *Tier.* The priority; a job that has waited `limit` seconds climbs a tier for each such wait, up to the highest.
2. *Turn.* The resident key goes on. Its turn ends once it has lasted `limit` while another key of the same tier waits.
3. *Age.* The oldest first.

So a backlog of K keys costs K loads, a high job overtakes after the current one, and nobody starves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest job of a lane that may run now."""

    key: str
    priority: int
    since: float  # when it began to wait
    id: str


@dataclass(frozen=True, slots=True)
class Resident:
    """The drain key whose turn it is, and when that turn began."""

    key: str
    since: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The jobs of one lane that share a tier: how many, and the oldest of them."""

    key: str
    tier: int
    first: tuple[float, str]  # since when the oldest waits, and its id
    count: int


def tier(priority: int, since: float, *, now: float, limit: float) -> int:
    """0 is the most urgent. A clock set back never lowers a job below its priority."""
    return max(0, priority - max(0, int((now - since) // limit)))


def choose(heads: Iterable[Head], resident: Resident | None, *, now: float, limit: float) -> Head | None:
    """The head to run next, or None when there is none."""

    def order(head: Head) -> tuple[int, int, float, str]:
        level = tier(head.priority, head.since, now=now, limit=limit)
        return level, _turn(head.key, resident, now, limit), head.since, head.id

    return min(heads, key=order, default=None)


def _turn(key: str, resident: Resident | None, now: float, limit: float) -> int:
    if resident is None or key != resident.key:
        return 1
    return 0 if now - resident.since < limit else 2


def turns(
    slices: Sequence[Slice], resident: Resident | None, *, now: float, limit: float
) -> Iterator[tuple[int, str, int]]:
    """In which order tiers and keys would run, and how many jobs each time, as (tier, key, count).

    The queue as it stands, nothing arriving and nothing ageing: tier after tier; within a tier the key at work drains,
    then the key with the oldest job.
    """
    turn = resident
    for level in sorted({part.tier for part in slices}):
        waiting: dict[str, list[Slice]] = {}
        for part in slices:
            if part.tier == level and part.count:
                waiting.setdefault(part.key, []).append(part)
        while waiting:
            chosen = min(waiting, key=lambda k: (_turn(k, turn, now, limit), min(p.first for p in waiting[k])))
            yield level, chosen, sum(part.count for part in waiting.pop(chosen))
            if turn is None or turn.key != chosen:
                turn = Resident(chosen, now)


def ahead(
    slices: Sequence[Slice], resident: Resident | None, *, key: str, at_tier: int, now: float, limit: float
) -> int:
    """How many jobs of *other* keys and tiers would run before the jobs of `key` at `at_tier`."""
    total = 0
    # Itself may have none yet: it would be the youngest of its tier.
    mine = (at_tier, key)
    for level, other, count in turns(slices, resident, now=now, limit=limit):
        if level > at_tier or (level, other) == mine:
            break
        total += count
    return total
