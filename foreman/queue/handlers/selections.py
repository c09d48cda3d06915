"""The handlers of actions on selected jobs: jobs that an action is not for are skipped, not refused.

The selection is tested again here: since a job was found, it may have gone on to a state that was not asked for.
"""

from __future__ import annotations

from foreman.domain.errors import IllegalTransition, LineOfBatch, QueueFull, QuotaExceeded
from foreman.domain.job import TERMINAL, Job, State
from foreman.queue.handlers import jobs
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.selection_commands import CancelSelected, DeleteSelected, RetrySelected
from foreman.store.records import Selection


def cancel(ledger: Ledger, message: CancelSelected) -> int:
    """Cancel the selected jobs that have not ended; return their number."""
    going = [job for job in _selected(ledger, message.wanted) if job.state not in TERMINAL]
    for job in going:
        ledger.put(ledger.ended(job, State.CANCELLED), job)
    return len(going)


def retry(ledger: Ledger, message: RetrySelected) -> int:
    """Queue the selected jobs again for which there is room; return their number."""
    done, full = 0, set[str]()
    for job in _selected(ledger, message.wanted):
        if job.owner in full:
            continue
        try:
            fresh = jobs.requeued(ledger, job)
        except QuotaExceeded:
            full.add(job.owner)
        except (IllegalTransition, LineOfBatch, QueueFull):
            continue
        else:
            ledger.put(fresh, job)
            done += 1
    return done


def delete(ledger: Ledger, message: DeleteSelected) -> int:
    """Delete the selected jobs that have ended and are in no batch; return their number."""
    found = _selected(ledger, message.wanted)
    ended = [job.id for job in found if job.state in TERMINAL and job.batch_id is None]
    if ended:
        ledger.store.delete(ended)
    return len(ended)


def _selected(ledger: Ledger, wanted: Selection) -> list[Job]:
    """Return the jobs of the step that still match."""
    return ledger.store.jobs(wanted, limit=len(wanted.ids)) if wanted.ids else []
