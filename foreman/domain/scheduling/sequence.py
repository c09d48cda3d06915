"""The order in which the jobs of a lane will run: its callers by turns, and prompts that begin alike together.

It is what claims would choose if nothing else came and each job took as long as expected. Left out are jobs that
overtake an older one by their response ratio, and those that wait while the beginning of their prompt is computed.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreman.domain.job import CallerKey
from foreman.domain.scheduling.prefixes import HASH, Neighbour, PrefixTurn, companion, lasts
from foreman.domain.scheduling.shares import A_LITTLE, FEW, ROUND, Fairness, Shares


class Waiting(NamedTuple):
    """What the order depends on of a waiting job."""

    since: float
    id: str
    path: bytes = b""
    most_tokens: int | None = None


class Following(NamedTuple):
    """A job in the order."""

    caller: CallerKey
    job: Waiting
    seconds: float  # that it is expected to take


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the jobs of a lane go."""

    usual: float  # seconds of a job
    slots: int  # jobs at once
    seconds: Callable[[CallerKey, Waiting, bool], float]  # of a job; with True its prompt begins like the one before


class _Line:
    """The jobs of one caller that are left."""

    def __init__(self, jobs: Sequence[Waiting]) -> None:
        """`jobs` are sorted by age."""
        self.left = len(jobs)
        self._ages = list(reversed(jobs))
        self._taken: set[str] = set()
        self._groups: dict[bytes, list[tuple[bytes, float, str, Waiting]]] = {}  # by the first hash, sorted by path
        for job in jobs:
            if job.path:
                self._groups.setdefault(job.path[:HASH], []).append((job.path, job.since, job.id, job))
        for group in self._groups.values():
            group.sort()

    def oldest(self) -> Waiting:
        """Return the oldest job."""
        while self._ages[-1].id in self._taken:
            self._taken.remove(self._ages.pop().id)
        return self._ages[-1]

    def companion(self, turn: PrefixTurn) -> Waiting | None:
        """Return the job that goes on with a turn, or None."""
        group = self._groups.get(turn.path[:HASH])
        if not group:
            return None
        after = bisect_right(group, turn.path, key=_path)
        sides = group[after : after + 1]
        if after:
            before = group[after - 1][0]
            sides.append(group[bisect_left(group, before, key=_path)])
        if len(sides) == 1:
            return sides[0][3]
        nearest = companion(turn, [Neighbour(*side[:3]) for side in sides])
        return next((side[3] for side in sides if nearest and side[2] == nearest.id), None)

    def take(self, job: Waiting) -> None:
        """Remove a job."""
        self.left -= 1
        self._taken.add(job.id)
        if group := self._groups.get(job.path[:HASH]):
            del group[bisect_left(group, (job.path, job.since, job.id))]


class _Lane:
    """The callers of a lane with jobs left, and what they were served."""

    def __init__(
        self, lines: Mapping[CallerKey, Sequence[Waiting]], shares: Shares, fairness: Fairness, pace: Pace
    ) -> None:
        self.lines = {caller: _Line(jobs) for caller, jobs in lines.items() if jobs}
        ages = ((caller, job) for caller, jobs in lines.items() for job in jobs)
        self._ages = sorted(ages, key=lambda one: one[1][:2], reverse=True)
        self._taken: set[str] = set()
        self.last = shares.last
        self._tokens, self._callers = shares.levels(self.lines)
        self._new = {caller for caller in self.lines if caller not in shares.served}
        self._new_tokens = {caller[0] for caller in self._new if (caller[0],) not in shares.served}
        self._fairness = fairness
        self._pace = pace
        self._most: tuple[float, float, float, float] | None = None  # see `_bounds`; of the caller served last

    def oldest(self) -> tuple[CallerKey, Waiting]:
        """Return the oldest job and its caller."""
        while self._ages[-1][1].id in self._taken:
            self._taken.remove(self._ages.pop()[1].id)
        return self._ages[-1]

    def least(self) -> CallerKey:
        """Return the caller that was served least."""
        token = min(self.lines, key=lambda caller: self._tokens[caller[0]])[0]
        return min((caller for caller in self.lines if caller[0] == token), key=self._callers.__getitem__)

    def may_go_on(self, caller: CallerKey) -> bool:
        """Return True if the caller served last may be served once more before others; see `Shares.may_go_on`."""
        if self._new:
            return False
        if self._most is None:
            self._most = self._bounds(caller)
        token, own, token_of_few, own_of_few = self._most
        of_token, of_caller = self._tokens[caller[0]], self._callers[caller]
        more = self._pace.usual
        return (
            of_token + more <= token
            and of_caller + more <= own
            and of_token <= token_of_few
            and of_caller <= own_of_few
        )

    def _bounds(self, caller: CallerKey) -> tuple[float, float, float, float]:
        """Return up to what the token and the caller may be served before others, with few jobs left or more."""
        quantum = min(self._fairness.quantum, ROUND / len(self.lines))
        bounds = [math.inf] * 4
        for other, line in self.lines.items():
            if other != caller:
                apart = other[0] != caller[0]
                level = self._tokens[other[0]] if apart else self._callers[other]
                place, ahead = (0, quantum) if line.left > FEW else (2, 0.0)
                place += not apart
                bounds[place] = min(bounds[place], level + ahead)
        return bounds[0], bounds[1], bounds[2], bounds[3]

    def _rank_new(self, served: CallerKey) -> None:
        """Have those that were never served count as served as little as the least; one of them may just have been."""
        self._new.discard(served)
        self._new_tokens.discard(served[0])
        tokens = {caller[0] for caller in self.lines} - self._new_tokens
        least = min((self._tokens[token] for token in tokens), default=0.0)
        self._tokens.update(dict.fromkeys(self._new_tokens, least - A_LITTLE))
        beside = [one for one in self.lines if one[0] == served[0] and one not in self._new]
        least = min((self._callers[one] for one in beside), default=0.0)
        self._callers.update((one, least - A_LITTLE) for one in self._new if one[0] == served[0])

    def take(self, caller: CallerKey, job: Waiting, seconds: float) -> None:
        """Remove a job that takes so many seconds."""
        line = self.lines[caller]
        line.take(job)
        self._taken.add(job.id)
        self._tokens[caller[0]] += seconds / self._fairness.weight(caller[0])
        self._callers[caller] += seconds
        if self._new:
            self._rank_new(caller)
        if caller != self.last or not line.left:
            self._most = None
        self.last = caller
        if not line.left:
            del self.lines[caller]


def sequence(
    lines: Mapping[CallerKey, Sequence[Waiting]],
    shares: Shares,
    turn: PrefixTurn | None,
    *,
    fairness: Fairness,
    pace: Pace,
    now: float,
    alike: bool,
) -> Iterator[Following]:
    """Yield the jobs of a lane in order.

    Args:
        lines: The jobs of each caller, the oldest first.
        shares: What the callers were served.
        turn: The turn of prompts that goes on, if there is one.
        fairness: The settings for sharing.
        pace: How fast the jobs go.
        now: When the first one starts.
        alike: True where jobs whose prompts begin alike follow each other.
    """
    lane, aged, lasting = _Lane(lines, shares, fairness, pace), shares.aged, lasts(pace.usual)
    turn = turn if alike else None
    while lane.lines:
        if turn is not None and turn.is_over(now, pace.usual):
            turn = None
        job: Waiting | None = None
        caller, several = lane.last, len(lane.lines) > 1
        if turn and several and caller in lane.lines:
            job = lane.lines[caller].companion(turn)
            job = job if job and lane.may_go_on(caller) else None
        follows = job is not None
        if job is None and turn is None and several and not aged <= now < aged + lasting:
            caller, job = lane.oldest()
        if caller is None or job is None:
            caller = lane.least() if several else next(iter(lane.lines))
            job = lane.lines[caller].companion(turn) if turn else None
            follows = job is not None
            job = job or lane.lines[caller].oldest()
        if not alike or not job.path:
            turn = None
        elif turn is None or not follows:
            turn = PrefixTurn(job.path, now)
        else:
            turn = PrefixTurn(job.path, turn.since)
        if several and job.id == lane.oldest()[1].id:
            aged = now
        seconds = pace.seconds(caller, job, follows)
        lane.take(caller, job, seconds)
        now += seconds / pace.slots
        yield Following(caller, job, seconds)


def _path(entry: tuple[bytes, float, str, Waiting]) -> bytes:
    return entry[0]
