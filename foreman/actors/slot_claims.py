"""The claims that the slots of a worker have sent and not taken up yet."""

from __future__ import annotations

from collections.abc import Callable

from foreman.domain.job import LoadKey
from foreman.domain.scheduling.choose import Spent
from foreman.queue.commands import Claim, Queue, Work


class SlotClaims:
    """Claims work for slots, and gives up what is not theirs any more before they have it."""

    def __init__(self, queue: Queue, target: str, is_loaded: Callable[[LoadKey], bool]) -> None:
        self._queue = queue
        self._target = target
        self._is_loaded = is_loaded
        self._sent: set[Claim] = set()

    def clear(self) -> None:
        """Forget the claims of slots that are no more."""
        self._sent.clear()

    async def claim(self, spent: Spent | None) -> tuple[Work | None, Claim]:
        """Wait for work and return it, perhaps before it is on disk, with its claim; None after a Withdraw.

        `spent` is the slot time of the attempt before.
        """
        claim = Claim(target=self._target, loaded=self._is_loaded, spent=spent)
        self._sent.add(claim)
        try:
            await self._queue.tell(claim)
            return await claim.reply.first(), claim
        finally:
            self._sent.discard(claim)

    def undo(self, job_id: str, seq: int) -> None:
        """Have a slot that was given the job before `seq`, and has not seen it yet, go without."""
        for claim in self._sent:
            work = claim.reply.outcome
            if isinstance(work, Work) and work.job.id == job_id and work.seq < seq:
                claim.reply.settle(None)
