"""Admission of webhook deliveries: the next destination to get a call slot, and how many each may hold."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, TypeVar

from foreman.domain.job import Instant

T = TypeVar("T")

SHARE = 3  # an owner gets another place while it holds at most this many times the free places
REMEMBERED = 4096  # receivers per owner whose last outcome is kept
MOST_WAITING = 1024  # destinations kept per owner and health; the others are found again in the store


class Destination(NamedTuple):
    """One owner's deliveries to one receiver."""

    owner: str  # the name of the token
    receiver: str  # scheme://host:port


class Health(IntEnum):
    """The health of a destination by its last attempt; a higher one gets fewer places."""

    WELL = 0
    UNKNOWN = 1
    ILL = 2


class Place(NamedTuple):
    """The right to make one delivery."""

    destination: Destination
    health: Health  # at the time of admission


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of concurrent deliveries."""

    together: int = 32
    per_receiver: int = 4

    @property
    def places(self) -> tuple[int, int, int]:
        """Return the places for all destinations, for those unknown or ill, and for ill ones."""
        return self.together, max(1, self.together * 3 // 4), max(1, self.together // 2)


class Admission:
    """The places for deliveries, shared fairly by owner and health.

    A place counts against the limit of its health and of each healthier one; it is given while all of these have room
    for its owner. The owner with the fewest places goes first. Of an owner's destinations the longest due goes first,
    alternating with the newest unknown one, since many silent destinations would hide it otherwise.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held = [0 for _ in Health]
        self._owners: dict[str, _Owner] = {}  # least recently served first
        self._places: Counter[Destination] = Counter()
        self._busy: Counter[str] = Counter()  # places by receiver
        self._crowded: dict[str, dict[Destination, Instant]] = {}  # destinations waiting for a receiver at its limit

    def health(self, destination: Destination) -> Health:
        """Return the health of a destination."""
        return self._owner(destination).history.get(destination.receiver, Health.UNKNOWN)

    def learn(self, destination: Destination, health: Health) -> None:
        """Record the outcome of a destination's last attempt."""
        owner = self._owner(destination)
        owner.history.pop(destination.receiver, None)
        owner.history[destination.receiver] = health
        if len(owner.history) > REMEMBERED:
            del owner.history[next(iter(owner.history))]
        if (due_at := owner.forget(destination.receiver)) is not None:
            self.wait(destination, due_at)

    def wait(self, destination: Destination, due_at: Instant) -> None:
        """Let a destination wait for a place, unless it waits already or is at its limit."""
        well = self.health(destination) is Health.WELL
        if self._places[destination] < (self.limits.per_receiver if well else 1):
            self._owner(destination).keep(destination.receiver, due_at, self.health(destination))

    def admit(self) -> Place | None:
        """Return the next place, or None when no waiting destination may have one."""
        for name, owner in sorted(self._owners.items(), key=lambda item: sum(item[1].held)):
            while (destination := self._next(name, owner)) is not None:
                due_at = owner.forget(destination.receiver)
                if self._busy[destination.receiver] >= self.limits.per_receiver:
                    self._crowded.setdefault(destination.receiver, {})[destination] = due_at or 0.0
                    continue
                owner.newest = not owner.newest
                self._owners[name] = self._owners.pop(name)
                return self._give(Place(destination, self.health(destination)))
        return None

    def leave(self, place: Place) -> None:
        """Release a place."""
        destination, health = place
        self._held[health] -= 1
        self._owners[destination.owner].held[health] -= 1
        _drop(self._places, destination)
        _drop(self._busy, destination.receiver)
        for other, due_at in self._crowded.pop(destination.receiver, {}).items():
            self.wait(other, due_at)

    def places(self, destination: Destination) -> int:
        """Return the number of places that a destination holds."""
        return self._places[destination]

    def waiting(self) -> int:
        """Return the number of waiting destinations."""
        return sum(len(owner.due) for owner in self._owners.values()) + sum(map(len, self._crowded.values()))

    def is_short(self) -> bool:
        """Return True, once, when there is room again after destinations were dropped."""
        return any(owner.is_short() for owner in self._owners.values())

    def _owner(self, destination: Destination) -> _Owner:
        return self._owners.setdefault(destination.owner, _Owner())

    def _next(self, name: str, owner: _Owner) -> Destination | None:
        """Return the owner's next destination within the limits of health; its receiver may be at its limit."""
        lines = {health: owner.lines[health] for health in self._with_room(owner) if owner.lines[health]}
        if not lines:
            return None
        if owner.newest and Health.UNKNOWN in lines:
            return Destination(name, lines[Health.UNKNOWN][-1][1])
        return Destination(name, min(line[0] for line in lines.values())[1])

    def _with_room(self, owner: _Owner) -> Iterator[Health]:
        for health in Health:
            left = self.limits.places[health] - sum(self._held[health:])
            if left <= 0 or sum(owner.held[health:]) > SHARE * left:
                return  # worse health has no room either
            yield health

    def _give(self, place: Place) -> Place:
        self._held[place.health] += 1
        self._owners[place.destination.owner].held[place.health] += 1
        self._places[place.destination] += 1
        self._busy[place.destination.receiver] += 1
        return place


@dataclass(slots=True)
class _Owner:
    """An owner's places, and the health and waiting order of its receivers."""

    held: list[int] = field(default_factory=lambda: [0 for _ in Health])
    history: dict[str, Health] = field(default_factory=dict)  # by receiver, the oldest first
    lines: list[list[tuple[Instant, str]]] = field(default_factory=lambda: [[] for _ in Health])  # by due time
    due: dict[str, tuple[Instant, Health]] = field(default_factory=dict)  # the same by receiver
    newest: bool = False  # True when the newest unknown receiver is next
    left_out: set[Health] = field(default_factory=set)  # healths with dropped receivers

    def keep(self, receiver: str, due_at: Instant, health: Health) -> None:
        if receiver in self.due:
            return
        line = self.lines[health]
        self.due[receiver] = due_at, health
        insort(line, (due_at, receiver))
        if len(line) > MOST_WAITING:
            del self.due[line.pop(MOST_WAITING // 2)[1]]  # from the middle: both ends are served first
            self.left_out.add(health)

    def forget(self, receiver: str) -> Instant | None:
        if (found := self.due.pop(receiver, None)) is None:
            return None
        due_at, health = found
        line = self.lines[health]
        del line[bisect_left(line, (due_at, receiver))]
        return due_at

    def is_short(self) -> bool:
        short = {health for health in self.left_out if len(self.lines[health]) <= MOST_WAITING // 2}
        self.left_out -= short
        return bool(short)


def _drop(counter: Counter[T], name: T) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
