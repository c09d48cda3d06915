"""The counts of batches: how the jobs of a transaction change them."""

from __future__ import annotations

from foreman.domain.batches import Counts, end_of
from foreman.domain.job import TERMINAL, Job
from foreman.domain.usage import Tokens
from foreman.store.protocol import Writer


class LineCounts:
    """What the transaction that is open adds to the counts of batches, by their ids."""

    def __init__(self) -> None:
        self._added: dict[str, Counts] = {}

    def changed(self, job: Job) -> None:
        """Count a transition, if it ends a line."""
        if job.batch_id is not None and job.state in TERMINAL:
            self.add(job.batch_id, end_of(job))

    def used(self, job: Job, tokens: Tokens) -> None:
        """Count the tokens of a job's answer."""
        if job.batch_id is not None:
            used = Counts(prompt_tokens=tokens.prompt, cached_tokens=tokens.cached, answer_tokens=tokens.answer)
            self.add(job.batch_id, used)

    def add(self, batch_id: str, counts: Counts) -> None:
        """Add to the counts of a batch."""
        self._added[batch_id] = self._added.get(batch_id, Counts()).plus(counts)

    def write(self, store: Writer) -> None:
        """Write the sums."""
        if self._added:
            store.count_lines(self._added)
            self._added = {}

    def forget(self) -> None:
        """Forget the sums of a transaction that was rolled back."""
        self._added = {}
