"""When slots are free, as the jobs before a waiting one take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Slots:
    """The seconds until each slot of a target is free, in ascending order, and the key loaded then."""

    free: Sequence[float]
    loaded: str | None

    def switch(self, key: str, load: float) -> Slots:
        """Return the slots after loading `key` in `load` seconds, which waits until all of them are free."""
        return self if key == self.loaded else Slots([self.free[-1] + load] * len(self.free), key)

    def starts(self, number: int, seconds: float) -> float:
        """Return the seconds until the start of a job behind `number` others of `seconds` each."""
        turns, slot = divmod(number, len(self.free))
        return self.free[slot] + turns * seconds

    def take(self, count: int, seconds: float) -> Slots:
        """Return the slots after taking `count` jobs of `seconds` each."""
        turns, more = divmod(count, len(self.free))
        taken = (at + (turns + (slot < more)) * seconds for slot, at in enumerate(self.free))
        return replace(self, free=sorted(taken))


@dataclass(frozen=True, slots=True)
class Capacity:
    """The slots of the targets that share jobs. A load key is one target's, until nothing else is left for others."""

    targets: Sequence[Slots]
    holders: Sequence[int] = ()  # the targets that have the key of the present run

    def switch(self, key: str, load: float, work: float, *, last: bool) -> Capacity:
        """Return it at the beginning of a run.

        Args:
            key: Of the jobs.
            load: Seconds to load it.
            work: Seconds of all jobs of the run.
            last: True when there is no other key for the targets that do not have this one.
        """
        holders = [place for place, slots in enumerate(self.targets) if slots.loaded == key]
        holders = holders or [min(range(len(self.targets)), key=lambda place: self.targets[place].free[-1])]
        targets = list(self.targets)
        for place in holders:
            targets[place] = targets[place].switch(key, load)
        if last:
            others = [place for place in range(len(targets)) if place not in holders]
            for place in sorted(others, key=lambda place: targets[place].free[-1]):
                if targets[place].free[-1] + load < _level(_free(targets, holders), work):
                    targets[place] = targets[place].switch(key, load)
                    holders.append(place)
        return Capacity(targets, holders)

    def starts(self, number: int, seconds: float) -> float:
        """Return the seconds until the start of a job of the run behind `number` others of `seconds` each."""
        if len(self.holders) == 1:
            return self.targets[self.holders[0]].starts(number, seconds)
        free = _free(self.targets, self.holders)
        return max(free[0], _level(free, number * seconds))

    def take(self, count: int, seconds: float) -> Capacity:
        """Return it after `count` jobs of the run of `seconds` each."""
        targets = list(self.targets)
        if len(self.holders) == 1:
            place = self.holders[0]
            targets[place] = targets[place].take(count, seconds)
        else:
            level = _level(_free(targets, self.holders), count * seconds)
            for place in self.holders:
                slots = targets[place]
                targets[place] = replace(slots, free=[max(at, level) for at in slots.free])
        return Capacity(targets)


def _free(targets: Sequence[Slots], places: Sequence[int]) -> list[float]:
    return sorted(at for place in places for at in targets[place].free)


def _level(free: Sequence[float], work: float) -> float:
    """Return when slots that are free at these times have done so many seconds of work, shared out evenly."""
    level, done = free[0], 0.0
    for number, following in enumerate(free[1:], start=1):
        more = (following - level) * number
        if done + more >= work:
            break
        level, done = following, done + more
    else:
        number = len(free)
    return level + (work - done) / number
