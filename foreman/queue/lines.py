"""The lines of a lane: the waiting jobs of each caller, by token."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from foreman.domain.job import CallerKey, Instant
from foreman.domain.scheduling.choose import Head

CALLERS = 200  # of one token that share a lane; further ones follow, each time that one of these was served

Numbers = tuple[Head | None, int, int]  # the oldest claimable job, the numbers of claimable and of parked jobs
NONE: Numbers = None, 0, 0


@dataclass(slots=True)
class _Token:
    """The lines of one token."""

    all: dict[CallerKey, Numbers] = field(default_factory=dict)
    ready: dict[CallerKey, tuple[Head, int]] = field(default_factory=dict)  # those with claimable jobs, next ones first
    size: int = 0  # claimable jobs
    ages: list[tuple[Instant, str, CallerKey]] = field(default_factory=list)  # of their heads, oldest first

    def place(self, head: Head, caller: CallerKey) -> int:
        return bisect_left(self.ages, (head.since, head.id, caller))


class Lines:
    """The lines of one lane. What a claim asks costs the same however many callers one token has."""

    def __init__(self) -> None:
        self._tokens: dict[str, _Token] = {}

    def __iter__(self) -> Iterator[tuple[CallerKey, Numbers]]:
        """Yield all callers with their numbers."""
        return (line for token in self._tokens.values() for line in token.all.items())

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def are_only_of(self, caller: CallerKey) -> bool:
        """Return True if no other caller has jobs in the lane."""
        return all(name == caller[0] and token.all.keys() <= {caller} for name, token in self._tokens.items())

    def of(self, caller: CallerKey) -> Numbers:
        """Return the numbers of one caller."""
        token = self._tokens.get(caller[0])
        return token.all.get(caller, NONE) if token else NONE

    def put(self, caller: CallerKey, numbers: Numbers) -> None:
        """Set the numbers of one caller."""
        head, size, parked = numbers
        token = self._tokens.get(caller[0])
        if token is None:
            token = self._tokens[caller[0]] = _Token()
        before, size_before, _ = token.all.get(caller, NONE)
        token.size += size - size_before
        if head != before:
            if before is not None:
                del token.ages[token.place(before, caller)]
                if head is None or len(token.ready) > CALLERS:
                    del token.ready[caller]  # it comes after those that wait for their share
            if head is not None:
                insort(token.ages, (head.since, head.id, caller))
        if head is not None:
            token.ready[caller] = head, size
        if size + parked:
            token.all[caller] = numbers
            return
        token.all.pop(caller, None)
        if not token.all:
            del self._tokens[caller[0]]

    def callers(self) -> dict[CallerKey, tuple[Head, int]]:
        """Return the head of each caller and its number of claimable jobs, the first to wait first.

        Of one token they are those CALLERS that were not served for the longest time.
        """
        tokens = self._tokens.values()
        return {caller: line for token in tokens for caller, line in islice(token.ready.items(), CALLERS)}

    def beyond(self, caller: CallerKey) -> int:
        """Return how many jobs of other callers of the token `callers` leaves out, if it leaves this one out too."""
        token = self._tokens.get(caller[0])
        if token is None or len(token.ready) <= CALLERS:
            return 0
        first = dict(islice(token.ready.items(), CALLERS))
        others = token.size - sum(size for _, size in first.values()) - self.of(caller)[1]
        return 0 if caller in first else others

    def oldest(self, without: Collection[str] = ()) -> Head | None:
        """Return the oldest head of the tokens that are none of `without`."""
        found = [token.ages[0] for name, token in self._tokens.items() if token.ages and name not in without]
        return self._head(min(found)) if found else None

    def oldest_of(self, owner: str) -> Head | None:
        """Return the oldest head of one token."""
        token = self._tokens.get(owner)
        return self._head(token.ages[0]) if token and token.ages else None

    def _head(self, age: tuple[Instant, str, CallerKey]) -> Head:
        return self._tokens[age[2][0]].ready[age[2]][0]
