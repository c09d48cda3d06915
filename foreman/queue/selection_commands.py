"""The commands about all jobs of a selection; each is one step, of the jobs in `Selection.ids`."""

from __future__ import annotations

from dataclasses import dataclass

from foreman.queue.commands import Message
from foreman.store.records import Selection


@dataclass(slots=True)
class CancelSelected(Message[int]):
    """Cancel the selected jobs that have not ended; the answer is their number."""

    wanted: Selection


@dataclass(slots=True)
class RetrySelected(Message[int]):
    """Queue the selected jobs that may be retried again; the answer is their number."""

    wanted: Selection


@dataclass(slots=True)
class DeleteSelected(Message[int]):
    """Delete the selected jobs that have ended and are in no batch; the answer is their number."""

    wanted: Selection
