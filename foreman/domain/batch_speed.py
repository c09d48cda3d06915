"""The speed of a batch, and when its last line is expected to end."""

from __future__ import annotations

from foreman.domain.batches import Batch, BatchState
from foreman.domain.job import Instant

MEASURED = 5  # lines that have ended before an end is estimated
LATER = (BatchState.CANCELLING, BatchState.FINALIZING)  # lines then end without being run


def speed(batch: Batch, now: Instant) -> float | None:
    """Return the lines per minute that have ended since the first one was fed; None before one has."""
    begin = batch.times.get(BatchState.IN_PROGRESS)
    lines = batch.counts.completed + batch.counts.failed
    if begin is None or not lines:
        return None
    ends = [batch.times[state] for state in LATER if state in batch.times]
    elapsed = min(ends, default=now if batch.ended_at is None else batch.ended_at) - begin
    return 60 * lines / elapsed if elapsed > 0 else None


def seconds_left(batch: Batch, now: Instant) -> float | None:
    """Return the seconds until the last line ends at the measured speed; None when that is not known.

    Lines wait for higher classes: the speed tells how long only as far as they did so until now.
    """
    measured = speed(batch, now) if batch.state is BatchState.IN_PROGRESS else None
    if measured is None or batch.total is None or batch.counts.ended < min(MEASURED, batch.total):
        return None
    return 60 * (batch.total - batch.counts.ended) / measured
