"""The claims of free slots that wait for a job, and those that the transaction which is open answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from foreman.domain.job import JobEvent, State
from foreman.queue.commands import Claim, Work

Lend: TypeAlias = Callable[[Sequence[tuple[Claim, Work | None]]], None]  # None: the commit has failed


class OpenClaims:
    """The claims that wait, and how the transaction answers some of them."""

    def __init__(self) -> None:
        self.waiting: list[Claim] = []  # the first one first
        self.answered: list[tuple[Claim, Work | None]] = []  # by the transaction
        self.lent: list[tuple[Claim, Work]] = []  # to slots that begin while the commit is under way
        self._before: list[Claim] = []

    def begin(self) -> None:
        """Forget the answers of the previous transaction."""
        self.answered, self.lent, self._before = [], [], self.waiting.copy()

    def roll_back(self) -> None:
        """Have the claims wait again that the transaction answered, but for those whose work was lent."""
        lent = [claim for claim, _ in self.lent]
        self.waiting = [claim for claim in self._before if claim not in lent]

    def answer(self, claim: Claim, work: Work) -> None:
        """Answer a claim that waits."""
        self.answered.append((claim, work))
        self.waiting.remove(claim)

    def lendable(self, events: Iterable[JobEvent]) -> list[tuple[Claim, Work]]:
        """Return the claims whose work may begin before it is on disk: idle slots with new jobs, nothing to load.

        Of a new job nobody knows anything yet, and no attempt of it is lost if the program ends before the commit.
        `events` are the transaction's. Those that are lent are left out.
        """
        if len(self.answered) == len(self.lent):
            return []
        new = {event.job_id for event in events if event.previous is None}
        lent = {claim for claim, _ in self.lent}
        return [
            (claim, work)
            for claim, work in self.answered
            if work and work.job.id in new and work.job.state is State.WORKING
            if claim in self._before and claim not in lent
        ]

    def lend(self, lent: Sequence[tuple[Claim, Work]], lend: Lend) -> None:
        """Lend the work of these claims."""
        if lent:
            self.lent += lent
            lend(lent)

    def refuse(self, target: str) -> None:
        """Answer the claims of a target that wait: they get no job."""
        self.answered += [(claim, None) for claim in self.withdraw(target)]

    def withdraw(self, target: str) -> list[Claim]:
        """Take back the claims of a target that wait, and return them; who calls this answers them without a job."""
        withdrawn = [claim for claim in self.waiting if claim.target == target]
        self.waiting = [claim for claim in self.waiting if claim.target != target]
        return withdrawn
