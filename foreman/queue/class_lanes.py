"""The lanes of one priority class, by key and by age."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from foreman.domain.job import Instant, LoadKey
from foreman.domain.scheduling.choose import Head


@dataclass(slots=True)
class ClassLanes:
    """The heads of the lanes of one class, and their numbers of jobs."""

    heads: dict[LoadKey, Head] = field(default_factory=dict)
    ages: list[tuple[Instant, str, LoadKey]] = field(default_factory=list)  # of the heads, oldest first
    sizes: list[int] = field(default_factory=list)  # numbers of jobs, in the order of `ages`

    def place(self, head: Head) -> int:
        """Return how many lanes have an older head."""
        return bisect_left(self.ages, (head.since, head.id, head.key))

    def size(self, head: Head) -> int:
        """Return the number of jobs of the lane with this head."""
        return self.sizes[self.place(head)]

    def put(self, key: LoadKey, head: Head | None, size: int) -> None:
        """Set a lane's head and size; a head of None removes it."""
        before = self.heads.get(key)
        if before is not None and before == head:
            self.sizes[self.place(before)] = size
            return
        if before is not None:
            place = self.place(before)
            del self.heads[key], self.ages[place], self.sizes[place]
        if head is not None:
            place = self.place(head)
            self.heads[key] = head
            self.ages.insert(place, (head.since, head.id, key))
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
