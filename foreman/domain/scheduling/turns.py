"""Turns, and what it costs to change between them.

A higher class takes the target from a lower one at once, and the target goes back later: a *move*, which costs two
loads. Three rules bound what moves cost:

- A turn works for as long as its load took before a higher class takes the target.
- The key that took the target *lingers* for the time of one load once it is idle, unless its calls are known to come
  further apart than that.
- Moves take about MOVING of the time. After too many of them the lower class works on until they are paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from foreman.domain.scheduling.prefixes import PrefixTurn

MOVING = 1 / 3  # of the time for the loads of moves, on average
MOST_UNPAID = 2.0  # moves' worth of loads
MOST_BAR = 60.0  # seconds without a move, at most: a person waits for it
NEWEST = 0.5  # weight of the latest gap in their average
KEYS = 64  # keys whose gaps are remembered


class Turn(msgspec.Struct, frozen=True):
    """The turn of one load key."""

    key: str
    since: float  # its beginning, loading included
    used: float = 0.0  # the last time that a job of it began or ended
    priority: int = 0  # the class of the job that began it
    load: float = 0.0  # seconds that loading the key takes; 0: not known
    took: bool = False  # True when it took the target from a lower class that has jobs left
    gap: float | None = None  # seconds from its last job to the next call, on average; None: not known
    prefix: PrefixTurn | None = None  # of the prompts that go on within it

    def ended(self, now: float, limit: float) -> bool:
        """Return True once it gives way to another key of its class."""
        return now - self.since >= max(limit, 2 * self.load)

    def comes_last(self, priority: int, now: float, limit: float) -> bool:
        """Return True once the jobs of its key come last in a class: the class began the turn, and it has ended."""
        return priority == self.priority and self.ended(now, limit)

    # A clock that is set back ends both of these.

    def goes_on(self, now: float) -> bool:
        """Return True while it works on, so that its load was worth it."""
        return self.since <= now < self.since + 2 * self.load

    def lingers(self, now: float) -> bool:
        """Return True while the target waits for further jobs of it."""
        wanted = self.took and (self.gap is None or self.gap <= self.load)
        return wanted and self.used <= now < self.used + self.load

    def ends(self) -> tuple[float, float]:
        """Return the times at which these two are over."""
        return self.since + 2 * self.load, self.used + self.load

    def started(self, now: float) -> Turn:
        """Return the turn after the start of a job."""
        return Turn(self.key, self.since, now, self.priority, self.load, self.took, self.gap, self.prefix)

    def visited(self, since: float) -> Turn:
        """Return the turn after one more call, which came at `since`."""
        return replace(self, gap=_average(self.gap, max(0.0, since - self.used)))


@dataclass(frozen=True, slots=True)
class Visits:
    """The gaps between the calls of keys that took the target and left again: by key, the end and the average."""

    known: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)

    def gap(self, key: str, since: float) -> float | None:
        """Return the average gap of a key whose next call came at `since`, or None when this is its first visit."""
        if key not in self.known:
            return None
        used, gap = self.known[key]
        return _average(gap, max(0.0, since - used))

    def left(self, turn: Turn) -> Visits:
        """Return the visits after the end of a turn."""
        if not turn.took:
            return self
        known = {key: visit for key, visit in self.known.items() if key != turn.key}
        while len(known) >= KEYS:
            del known[next(iter(known))]
        return Visits({**known, turn.key: (turn.used, turn.gap)})


@dataclass(frozen=True, slots=True)
class Moves:
    """The unpaid seconds of loads that moves have cost."""

    unpaid: float = 0.0
    at: float = 0.0
    until: float = 0.0  # no further move before

    def bars(self, now: float) -> bool:
        """Return True while no move may begin. A clock that is set back ends it too."""
        return self.at <= now < self.until

    def one(self, cost: float, now: float) -> Moves:
        """Return the account after a move that costs `cost` seconds."""
        unpaid = max(0.0, self.unpaid - MOVING * max(0.0, now - self.at)) + cost
        until = now + min(unpaid / MOVING, MOST_BAR) if unpaid > MOST_UNPAID * cost else 0.0
        return Moves(unpaid, now, until)


def _average(gap: float | None, newest: float) -> float:
    return newest if gap is None else gap + NEWEST * (newest - gap)
