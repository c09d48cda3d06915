"""What may be asked of the queue about batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from foreman.domain.batches import Batch, LineFault
from foreman.domain.caller import FOREMAN, Caller
from foreman.domain.files import Blob
from foreman.domain.job import Draft
from foreman.queue.commands import Message, NewFile


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch to add."""

    id: str
    kind: str = "openai"
    owner: str = ""  # the name of a token
    caller: str = ""  # the name of the caller under that token
    endpoint: str
    input_file: str = ""  # id
    metadata: dict[str, str] | None = None
    output_ttl: float | None = None  # seconds
    name: str | None = None
    webhook_url: str | None = None  # that is told of its end
    idempotency_key: str | None = None
    repeated: bool = False  # True when its client may have asked for it before


class Line(msgspec.Struct, frozen=True):
    """A line of a batch that becomes a job; its draft may carry the refusal that the job fails with."""

    draft: Draft
    read_to: int  # bytes of the input up to its end


class Results(msgspec.Struct, frozen=True):
    """A file with results, whose bytes are stored."""

    new: NewFile
    blob: Blob


class Ended(msgspec.Struct, frozen=True):
    """A batch that has ended, and whether each of its files has the bytes that were stored for it."""

    batch: Batch
    output_used: bool = False
    error_used: bool = False


@dataclass(slots=True)
class AddBatch(Message[Batch]):
    """Add a batch, or return the one that a repeated request has made."""

    new: NewBatch


@dataclass(slots=True)
class AddCheckedBatch(Message[tuple[Batch, bool]]):
    """Add a batch whose input came with the request, was checked, and is stored as a blob.

    The answer is the batch, or the one that a repeated request has made, and False when another blob has the bytes.
    """

    new: NewBatch
    input: Blob
    total: int
    model: str | None = None


@dataclass(slots=True)
class CheckedBatch(Message[None]):
    """Record that the input of a batch is as it has to be."""

    batch_id: str
    total: int
    model: str | None


@dataclass(slots=True)
class FailBatch(Message[None]):
    """Record what is wrong with a batch: it fails."""

    batch_id: str
    errors: Sequence[LineFault]


@dataclass(slots=True)
class FeedBatch(Message[int]):
    """Make jobs of the next lines of a batch, after the first `fed`, as room is; the answer is how many."""

    batch_id: str
    fed: int
    lines: Sequence[Line]


@dataclass(slots=True)
class CancelBatch(Message[Batch]):
    """Cancel a batch that has not ended."""

    batch_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class DeleteBatch(Message[None]):
    """Delete a batch that has ended, with its jobs: the next prune removes them."""

    batch_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class AdvanceBatch(Message["Batch | None"]):
    """Do what is due for a batch: its expiry, the end of its lines, the step to its files."""

    batch_id: str


@dataclass(slots=True)
class EndBatch(Message["Ended | None"]):
    """End a batch whose lines have all ended, with its files; the answer is None when it has ended already."""

    batch_id: str
    output: Results | None
    error: Results | None
