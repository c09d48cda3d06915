"""Batches: many requests in one file, each of them a job."""

from __future__ import annotations

import re
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from foreman.domain.job import Instant, Job, State

BATCH_ID = re.compile("(?:msg)?batch_[0-7][0-9A-HJKMNP-TV-Z]{25}")  # a ULID after the prefix of the API's ids
LONGEST_LINE = 64 * 2**20  # bytes
LARGEST_INPUT = 200 * 2**20  # bytes of all lines
FED = 256  # lines of a batch that are jobs and have not ended, at most
REPEATED_WITHIN = 600.0  # seconds in which the repetition of a request gets the batch that the first one made
# Error codes of lines that were not executed.
CANCELLED_CODE, EXPIRED_CODE, FAILED_CODE = "batch_cancelled", "batch_expired", "batch_failed"
MESSAGES = MappingProxyType(
    {
        CANCELLED_CODE: "This request was cancelled with its batch.",
        EXPIRED_CODE: "This request could not be executed before the completion window expired.",
        FAILED_CODE: "This request could not be executed because its batch failed.",
    }
)


class BatchState(StrEnum):
    """The state of a batch, as OpenAI's API names it."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"  # its files are written
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED = frozenset({BatchState.FAILED, BatchState.COMPLETED, BatchState.EXPIRED, BatchState.CANCELLED})
CANCELLABLE = frozenset({BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.CANCELLING})


class LineFault(msgspec.Struct, frozen=True):
    """What is wrong with a batch, or with a line of its input."""

    code: str
    message: str
    line: int | None = None  # 1 is the first
    param: str | None = None


class Counts(NamedTuple):
    """Lines by their end, and the tokens that they used."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the sums of both."""
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))

    @property
    def ended(self) -> int:
        """Return the number of lines."""
        return self.completed + self.failed + self.cancelled + self.expired


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A stored batch."""

    id: str
    kind: str = "openai"  # the API that made it
    owner: str = ""  # the name of a token
    caller: str = ""  # the name of the caller under that token
    name: str | None = None
    webhook_url: str | None = None  # that is told of its end
    idempotency_key: str | None = None
    endpoint: str  # of its requests; empty when each has its own
    state: BatchState = BatchState.VALIDATING
    ending: BatchState | None = None  # what it ends as, once that is known
    input_file: str  # id; the digest of an input that came with the request
    input_blob: str | None  # digest; None once it has ended
    metadata: dict[str, str] | None = None
    created_at: Instant
    ends_by: Instant | None = None  # lines that have not ended then expire
    ended_at: Instant | None = None
    expires_at: Instant | None = None  # when it will be pruned with its lines
    times: dict[str, Instant] = {}  # when it entered each state
    model: str | None = None  # of all lines, if they have one
    total: int | None = None  # lines; None until the input is checked
    fed: int = 0  # lines that are jobs
    read_to: int = 0  # bytes of the input up to the end of those lines
    counts: Counts = Counts()
    output_file: str | None = None
    error_file: str | None = None
    output_ttl: float | None = None  # seconds; None: as other files
    errors: tuple[LineFault, ...] = ()

    @property
    def is_going(self) -> bool:
        """Return True while its jobs are being removed, and it with the last one."""
        return self.expires_at == 0

    @property
    def running(self) -> int:
        """Return the number of lines that are jobs and have not ended."""
        return max(0, self.fed - self.counts.ended)  # lines that were never fed end with the batch


class FinishedLine(NamedTuple):
    """A line whose job has ended."""

    line: int  # 0 is the first
    job_id: str
    custom_id: str | None
    state: str
    error: str | None
    error_code: str | None
    is_job: bool = True  # False for a line that was never fed: `job_id` then only tells it from others


class Step(StrEnum):
    """What a batch needs next."""

    NOTHING = "nothing"
    ADVANCE = "advance"  # a change of state, or an end of lines
    CHECK = "check"  # its input is to be checked
    FEED = "feed"
    WRITE = "write"  # its files are to be written


def step(batch: Batch, now: Instant) -> Step:
    """Return what a batch needs next."""
    if batch.state in ENDED:
        return Step.NOTHING
    if batch.ending is None and batch.ends_by is not None and batch.ends_by <= now:
        return Step.ADVANCE
    if batch.total is None:
        return Step.CHECK
    if batch.ending is not None:
        return Step.ADVANCE if batch.running else Step.WRITE
    if batch.fed < batch.total:
        return Step.FEED if batch.running <= FED // 2 else Step.NOTHING
    return Step.NOTHING if batch.running else Step.ADVANCE


def end_of(job: Job) -> Counts:
    """Return the one count of a line whose job has ended; none while it has not."""
    match job.state:
        case State.DONE:
            return Counts(completed=1)
        case State.FAILED:
            return Counts(failed=1)
        case State.EXPIRED:
            return Counts(expired=1)
        case State.CANCELLED:
            return Counts(expired=1) if job.error_code == EXPIRED_CODE else Counts(cancelled=1)
    return Counts()
