"""The tally of a target: its jobs done and its speed, since the start of the process."""

from __future__ import annotations

from foreman.actors.metrics import Attempted

KEPT = 0.9  # of what is known, with each further job: the last ten or so count


class Tally:
    """Counts the attempts of a target."""

    def __init__(self) -> None:
        self.jobs_done = 0
        self._tokens = 0.0
        self._seconds = 0.0

    def attempted(self, attempt: Attempted) -> None:
        """Count an attempt that has ended."""
        if attempt.outcome != "done":
            return
        self.jobs_done += 1
        if attempt.answer_tokens and attempt.working > 0:
            self._tokens = KEPT * self._tokens + attempt.answer_tokens
            self._seconds = KEPT * self._seconds + attempt.working

    @property
    def tokens_per_second(self) -> float | None:
        """Return the answer tokens per second of one job, averaged over recent jobs; None until known."""
        return self._tokens / self._seconds if self._seconds else None
