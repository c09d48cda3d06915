"""The lanes in memory, sorted by age, so that claims and positions need not scan all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock

from foreman.domain.job import Instant, LoadKey
from foreman.domain.scheduling.choose import CLASSES, OTHERS, Head


@dataclass(frozen=True, slots=True)
class Near:
    """The next lanes, each with its number of jobs."""

    lanes: list[tuple[Head, int]]
    others: dict[int, int]  # number of keys that OTHERS stands for, by class


@dataclass(slots=True)
class _Class:
    """The lanes of one priority: their heads by key and by age."""

    heads: dict[LoadKey, Head] = field(default_factory=dict)
    ages: list[tuple[Instant, str, LoadKey]] = field(default_factory=list)  # of the heads, oldest first
    sizes: list[int] = field(default_factory=list)  # numbers of jobs, in the order of `ages`

    def place(self, head: Head) -> int:
        return bisect_left(self.ages, (head.since, head.id, head.key))

    def size(self, head: Head) -> int:
        return self.sizes[self.place(head)]

    def take(self, key: LoadKey) -> None:
        if head := self.heads.pop(key, None):
            place = self.place(head)
            del self.ages[place], self.sizes[place]

    def put(self, head: Head, size: int) -> None:
        place = self.place(head)
        self.heads[head.key] = head
        self.ages.insert(place, (head.since, head.id, head.key))
        self.sizes.insert(place, size)

    def first(
        self, most: int, ages: Iterable[tuple[Instant, str, LoadKey]], resting: Collection[LoadKey]
    ) -> list[LoadKey]:
        """Return the first `most` keys of `ages` without resting ones."""
        return list(islice((key for _, _, key in ages if key not in resting), most))

    def between(self, place: int, end: Head | None, without: Iterable[LoadKey]) -> tuple[int, int]:
        """Return the numbers of lanes and jobs from a place up to a head, or to the end."""
        last = self.place(end) if end else len(self.ages)
        apart = [at for key in without if (head := self.heads.get(key)) and place <= (at := self.place(head)) < last]
        size = sum(self.sizes[place:last]) - sum(self.sizes[at] for at in apart)
        return max(0, last - place - len(apart)), size


class Board:
    """The heads and sizes of all lanes. The writer updates it, any thread reads it.

    It is slightly ahead of the disk, since it changes within the transaction.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._classes = [_Class() for _ in CLASSES]
        self._by_key: Counter[LoadKey] = Counter()
        self.ready = 0  # claimable jobs
        self.waiting = 0  # claimable jobs and those with a start time in the future

    def __contains__(self, key: LoadKey) -> bool:
        """Return True when a job of the key waits."""
        return key in self._by_key

    @property
    def keys(self) -> int:
        """Return the number of different keys that wait."""
        return len(self._by_key)

    def keys_waiting(self) -> list[LoadKey]:
        """Return the load keys of waiting jobs."""
        return list(self._by_key)

    def count(self, key: LoadKey, more: int) -> None:
        """Add `more` to the number of waiting jobs of the key."""
        self.waiting += more
        self._by_key[key] += more
        if not self._by_key[key]:
            del self._by_key[key]

    def waits(self, key: LoadKey) -> int:
        """Return the number of waiting jobs of the key."""
        return self._by_key.get(key, 0)

    def size(self, key: LoadKey, priority: int) -> int:
        """Return the number of claimable jobs of a lane."""
        lanes = self._classes[priority]
        head = lanes.heads.get(key)
        return lanes.size(head) if head else 0

    def put(self, key: LoadKey, priority: int, head: Head | None, size: int) -> None:
        """Set a lane's head and size; a head of None means no claimable job."""
        size = max(1, size) if head else 0  # another program may have corrupted the count
        with self._lock:
            lanes = self._classes[priority]
            self.ready += size - self.size(key, priority)
            lanes.take(key)
            if head is not None:
                lanes.put(head, size)

    def heads(self) -> list[Head]:
        """Return the oldest claimable job of every lane."""
        with self._lock:
            return [head for lanes in self._classes for head in lanes.heads.values()]

    def oldest(self) -> Instant | None:
        """Return the time since which the oldest claimable job waits, or None."""
        with self._lock:
            return min((lanes.ages[0][0] for lanes in self._classes if lanes.ages), default=None)

    def near(
        self,
        most: int,
        *,
        besides: Iterable[LoadKey] = (),
        resting: Collection[LoadKey] = (),
        ahead_of: tuple[LoadKey, int] | None = None,
    ) -> Near:
        """Return the `most` oldest lanes of each class and those of the keys `besides`, without resting ones.

        Keys found in one class are included in the lower ones too, since their turn may go on there.

        With `ahead_of`, a lane, all further lanes that may go before it are summed up as one lane of OTHERS per class.
        """
        found = Near([], {})
        keys = list(besides)
        with self._lock:
            for priority, lanes in enumerate(self._classes):
                taken = lanes.first(most, lanes.ages, resting)
                behind = lanes.place(lanes.heads[taken[-1]]) + 1 if taken else 0  # the first lane that is not near
                whole = ahead_of is not None and priority <= ahead_of[1]
                if whole:
                    taken += lanes.first(2, reversed(lanes.ages), resting)  # one of them goes last in this class
                keys += taken  # the key that goes last continues in the next class
                near = {key: head for key in keys if key not in resting and (head := lanes.heads.get(key))}
                found.lanes.extend((head, lanes.size(head)) for head in near.values())
                if ahead_of is not None and whole:
                    own = lanes.heads.get(ahead_of[0]) if priority == ahead_of[1] else None
                    count, size = lanes.between(behind, own, {*near, *resting})
                    if count:
                        since, id, _ = lanes.ages[behind]
                        found.lanes.append((Head(OTHERS, priority, since, id), size))
                        found.others[priority] = count
        return found
