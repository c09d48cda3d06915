"""The sequence numbers of the events of a response: they grow over all attempts, and never repeat.

A response begins with 0 (`response.created`) and 1 (`response.queued`). Each claim of its job has a fence, one higher
than the number of claims and events before it: its `response.in_progress` and its own events follow from there.
"""

from __future__ import annotations

CREATED, QUEUED = 0, 1
# Events that an attempt may have shown before it was lost with its process. None shows more: an answer of the largest
# size (`max_answer` as it is by default) has fewer.
LOST = 2**19


LAST = 999_999_999  # the highest number that a reader may name, and that any store can keep
LAST_RETRY = LAST - 256 * LOST  # the highest fence from which a retry has numbers for all its attempts


def begins(fence: int) -> int:
    """Return the number of the `response.in_progress` of a claim."""
    return fence + 1


def first_of(fence: int) -> int:
    """Return the number of the first event of the answer of a claim."""
    return fence + 2
