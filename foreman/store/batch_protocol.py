"""The part of the protocol of storage engines that is about batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from foreman.domain.batches import Batch, BatchState, Counts, FinishedLine
from foreman.domain.errors import JobUnreadable
from foreman.domain.job import Instant, Job


class BatchReader(Protocol):
    """The reads of batches."""

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None when there is none."""

    def batches(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        states: Collection[BatchState] = (),
        after: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Batch]:
        """Return up to `limit` batches in any of `states`, the newest first.

        They are older than the one with the id `after`, or just newer than the one with the id `before`. Those that
        are being removed are not among them.
        """

    def batch_by_key(self, owner: str, key: str) -> Batch | None:
        """Return the batch of an owner's idempotency key, or None."""

    def open_batches(self, limit: int) -> list[Batch]:
        """Return up to `limit` batches that have not ended, the oldest first."""

    def finished_lines(self, batch_id: str, *, after: int, limit: int) -> list[FinishedLine]:
        """Return up to `limit` lines of a batch after a line, in order; -1 is before the first."""


class BatchWriter(BatchReader, Protocol):
    """The writes of batches."""

    def batch_by_input(self, owner: str, input_file: str) -> Batch | None:
        """Return the owner's newest batch of an input file, or None."""

    def batch_of(self, job_id: str) -> str | None:
        """Return the batch that a job is a line of, or None; also of a job that cannot be read."""

    def running_lines(self, batch_id: str, limit: int) -> list[Job | JobUnreadable]:
        """Return up to `limit` jobs of a batch that have not ended, or the errors of unreadable ones."""

    def add_batch(self, batch: Batch) -> None:
        """Insert a batch."""

    def put_batch(self, batch: Batch) -> None:
        """Write what changes in the row of a batch, but for its counts."""

    def count_lines(self, counts: Mapping[str, Counts]) -> None:
        """Add to the counts of batches, by their ids."""

    def prune_batches(self, now: Instant, limit: int) -> int:
        """Delete up to `limit` jobs of a batch past its expiry, and with the last one the batch.

        Return how many jobs and batches were deleted.
        """
