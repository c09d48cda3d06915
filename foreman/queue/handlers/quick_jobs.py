"""The ends of quick jobs: their transaction waits for them, so that each job is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from foreman.domain.job import JobEvent
from foreman.queue.commands import Claim, Computed, Finished, Message, Submit
from foreman.queue.handlers.open_claims import Lend, OpenClaims

QUICK = 0.01  # expected seconds of a job that is stored together with its end
LATE = 2.0  # times the expected seconds that its transaction waits for the next message


class QuickJobs:
    """The quick jobs whose ends a transaction waits for, as long as nobody else waits for the transaction."""

    def __init__(self, claims: OpenClaims, lend: Lend) -> None:
        self._claims = claims
        self._lend = lend
        self._awaited: set[str] = set()
        self._wait = 0.0

    def after(self, messages: Sequence[Message[Any]], events: Iterable[JobEvent]) -> float:
        """Lend the quick jobs after these messages; return the seconds to wait for the next ones, 0 for no longer.

        `events` are the transaction's.
        """
        if not messages or not all(map(_may_wait, messages)):
            return 0.0
        lent = self._claims.lendable(events)
        if any(work.charge > QUICK for _, work in lent):
            return 0.0
        for claim, work in lent:
            claim.reply.waits_for_end = True
            self._awaited.add(work.job.id)
            self._wait = max(self._wait, LATE * work.charge)
        self._claims.lend(lent, self._lend)
        self._awaited.difference_update(message.job_id for message in messages if isinstance(message, Finished))
        if len(self._claims.answered) > len(self._claims.lent):  # a slot has to wait for the commit with its next job
            return 0.0
        return self._wait if self._awaited else 0.0


def _may_wait(message: Message[Any]) -> bool:
    """Return True if its sender loses nothing when the transaction goes on for a moment."""
    return message.patient if isinstance(message, Submit) else isinstance(message, (Claim, Computed, Finished))
