"""The commands about all jobs of a selection; each is one step, of the jobs in `Selection.ids`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from foreman.domain.job import Instant
from foreman.queue.commands import Message
from foreman.store.records import Selection


class Changed(msgspec.Struct, frozen=True):
    """The answer of a step."""

    done: int  # jobs that were changed
    seqs: range = range(0)  # that has the events of all cancels that can be taken back


@dataclass(slots=True)
class CancelSelected(Message[Changed]):
    """Cancel the selected jobs that have not ended."""

    wanted: Selection


@dataclass(slots=True)
class UncancelSelected(Message[Changed]):
    """Queue the selected jobs again that were cancelled while queued, as they were."""

    wanted: Selection
    when: Mapping[str, Instant]  # each was cancelled, by its id; one that was cancelled at another time is left


@dataclass(slots=True)
class RetrySelected(Message[Changed]):
    """Queue the selected jobs that may be retried again."""

    wanted: Selection


@dataclass(slots=True)
class DeleteSelected(Message[Changed]):
    """Delete the selected jobs that have ended and are in no batch."""

    wanted: Selection
