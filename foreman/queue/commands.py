"""All that actors say to each other: what is asked of the queue, and what a commit tells the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import trio

from foreman.domain.errors import ForemanError
from foreman.domain.job import Artifact, Delivery, Draft, Job, JobEvent, LoadKey
from foreman.domain.retry import Sent
from foreman.domain.scheduling.choose import Spent
from foreman.domain.usage import NO_TOKENS, Tokens

T = TypeVar("T")

PAUSED = "paused"  # the note that says whether the queue is: "true" or not


class Reply(Generic[T]):
    """One answer, settled once, awaited by at most one task."""

    __slots__ = ("_done", "_outcome")

    def __init__(self) -> None:
        self._done = trio.Event()
        self._outcome: T | ForemanError | None = None

    def settle(self, outcome: T | ForemanError) -> None:
        self._outcome = outcome
        self._done.set()

    async def wait(self) -> T:
        """The answer; raises the ForemanError it was settled with."""
        await self._done.wait()
        if isinstance(self._outcome, ForemanError):
            raise self._outcome
        return self._outcome  # type: ignore[return-value]


@dataclass(slots=True, kw_only=True)
class Message(Generic[T]):
    """Something asked of the queue; `T` is what it answers."""

    reply: Reply[T] = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class Accepted:
    job: Job
    position: int | None  # 1 is next; None when it does not wait for its turn


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job with what its target needs."""

    job: Job
    payload: bytes
    seq: int  # of the change that claimed it
    reserved: bool = False  # whether it goes before a job of a higher class
    more: bool = True  # whether another slot may find work too


@dataclass(frozen=True, slots=True)
class Answered:
    """An attempt that ended well."""

    artifacts: Sequence[Artifact]  # the completion first
    flaw: ForemanError | None = None  # what is wrong with the answer all the same
    tokens: Tokens = NO_TOKENS


@dataclass(slots=True)
class Submit(Message[Accepted]):
    """Add a job, unless its idempotency key has one already."""

    draft: Draft
    refusal: ForemanError | None = None  # why it cannot be a new job; one that is there already is given all the same


@dataclass(slots=True)
class SubmitMany(Message[None]):
    """All of them or, when there is no room, none."""

    drafts: Sequence[Draft]


@dataclass(slots=True)
class Claim(Message["Work | None"]):
    """Take the next job for a free slot; None when none may run now."""

    loaded: LoadKey | None = None  # the key that can start without loading
    spent: Spent | None = None  # the slot time of the attempt that the slot had before


@dataclass(slots=True)
class Began(Message[None]):
    """The target has the request."""

    job_id: str
    fence: int
    loaded: bool = False  # the model had to be loaded for it


@dataclass(slots=True)
class Finished(Message[None]):
    """An attempt ended. Dropped when the lease is no longer current."""

    job_id: str
    fence: int
    outcome: Answered | ForemanError


@dataclass(slots=True)
class Rescue(Message[int]):
    """Requeue the jobs that a worker left running when it died; how many there were."""


@dataclass(slots=True)
class Cancel(Message[Job]):
    job_id: str


@dataclass(slots=True)
class Retry(Message[Job]):
    """Put a job that ended badly back in the queue, with fresh attempts."""

    job_id: str


@dataclass(slots=True)
class Delete(Message[None]):
    """Remove a job that has ended, with all that hangs on it."""

    job_id: str


@dataclass(slots=True)
class DeliveryEnded(Message[None]):
    """An attempt to deliver a webhook ended."""

    delivery: Delivery
    sent: Sent


@dataclass(slots=True)
class Redeliver(Message[Delivery]):
    """Deliver a change once more, whatever became of it before."""

    job_id: str
    seq: int


@dataclass(slots=True)
class Note(Message[None]):
    """Keep a small fact over restarts."""

    name: str
    value: str


@dataclass(slots=True)
class Prune(Message[int]):
    """Remove up to `most` jobs whose time is over; how many were removed."""

    most: int


@dataclass(slots=True)
class KeepUsage(Message[None]):
    """Store how many jobs run, and remove some of the figures that are past their time."""


@dataclass(slots=True)
class Checkpoint(Message[int]):
    """Fold the database's log; its size in bytes before."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction changed."""

    events: Sequence[JobEvent]
    work_available: bool = False  # there may be work although no change says so: jobs woke, the queue was resumed
    posted: bool = False  # there are webhooks to deliver


class Listener(Protocol):
    """Called on the event loop after every commit; must not block."""

    def __call__(self, commit: Commit, /) -> None: ...


class Queue(Protocol):
    """What the other actors know of the queue actor."""

    async def ask(self, message: Message[T]) -> T:
        """Send and wait for the answer, which is on disk when it comes. Raises the fault it was answered with."""

    async def tell(self, message: Message[T]) -> None:
        """Send without waiting for the answer. Messages of one sender are applied in the order sent."""
