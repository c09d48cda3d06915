"""The handlers of actions on selected jobs: jobs that an action is not for are skipped, not refused.

The selection is tested again here: since a job was found, it may have gone on to a state that was not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foreman.domain.errors import IllegalTransition, LineOfBatch, QueueFull, QuotaExceeded
from foreman.domain.job import TERMINAL, Job, State
from foreman.queue.handlers import jobs
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.selection_commands import (
    CancelSelected,
    Changed,
    DeleteSelected,
    RetrySelected,
    UncancelSelected,
)
from foreman.store.records import Selection


def cancel(ledger: Ledger, message: CancelSelected) -> Changed:
    """Cancel the selected jobs that have not ended."""
    going = [job for job in _selected(ledger, message.wanted) if job.state not in TERMINAL]
    before = len(ledger.events)
    for job in going:
        ledger.put(ledger.ended(job, State.CANCELLED), job)
    happened = zip(ledger.events[before:], going, strict=True)
    seqs = [event.seq for event, job in happened if event.previous is State.QUEUED and job.batch_id is None]
    return Changed(len(going), range(seqs[0], seqs[-1] + 1) if seqs else range(0))


def uncancel(ledger: Ledger, message: UncancelSelected) -> Changed:
    """Queue the selected jobs as they were for which there is room, those first that were first in the line."""
    oldest_first = reversed(_selected(ledger, message.wanted))
    found = [job for job in oldest_first if job.completed_at == message.when.get(job.id)]
    return Changed(_queue_again(ledger, found, jobs.uncancelled))


def retry(ledger: Ledger, message: RetrySelected) -> Changed:
    """Queue the selected jobs anew for which there is room."""
    return Changed(_queue_again(ledger, _selected(ledger, message.wanted), jobs.requeued))


def _queue_again(ledger: Ledger, found: Sequence[Job], fresh_of: Callable[[Ledger, Job], Job]) -> int:
    """Queue the jobs for which there is room; return their number."""
    done, full = 0, set[str]()
    for job in found:
        if job.owner in full:
            continue
        try:
            fresh = fresh_of(ledger, job)
        except QuotaExceeded:
            full.add(job.owner)
        except (IllegalTransition, LineOfBatch, QueueFull):
            continue
        else:
            ledger.put(fresh, job)
            done += 1
    return done


def delete(ledger: Ledger, message: DeleteSelected) -> Changed:
    """Delete the selected jobs that have ended and are in no batch."""
    found = _selected(ledger, message.wanted)
    ended = [job.id for job in found if job.state in TERMINAL and job.batch_id is None]
    if ended:
        ledger.store.delete(ended)
    return Changed(len(ended))


def _selected(ledger: Ledger, wanted: Selection) -> list[Job]:
    """Return the jobs of the step that still match."""
    return ledger.store.jobs(wanted, limit=len(wanted.ids)) if wanted.ids else []
