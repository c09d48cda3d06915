"""The tally of a target: how its attempts ended, and its speed, since the start of the process."""

from __future__ import annotations

from collections import Counter

from foreman.actors.metrics import Attempted

KEPT = 0.9  # of what is known, with each further job: the last ten or so count


class Tally:
    """Counts the attempts of a target."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()  # done, cancelled, or an error's code
        self._tokens = 0.0
        self._seconds = 0.0

    def attempted(self, attempt: Attempted) -> None:
        """Count an attempt that has ended."""
        self.outcomes[attempt.outcome] += 1
        if attempt.outcome == "done" and attempt.answer_tokens and attempt.working > 0:
            self._tokens = KEPT * self._tokens + attempt.answer_tokens
            self._seconds = KEPT * self._seconds + attempt.working

    @property
    def jobs_done(self) -> int:
        """Return the number of jobs that the target has done."""
        return self.outcomes["done"]

    @property
    def tokens_per_second(self) -> float | None:
        """Return the answer tokens per second of one job, averaged over recent jobs; None until known."""
        return self._tokens / self._seconds if self._seconds else None
