"""The queue's commands, and the commits it reports to its listeners."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from foreman.domain.caller import FOREMAN, Caller
from foreman.domain.errors import ForemanError
from foreman.domain.files import Blob, File
from foreman.domain.job import Artifact, Delivery, Draft, Job, JobEvent, JobUsage, LoadKey
from foreman.domain.nodes import NodeState, TargetReport
from foreman.domain.retry import Sent
from foreman.domain.scheduling.choose import Spent
from foreman.domain.usage import NO_TOKENS, Tokens
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.queue.replies import ClaimReply, Reply

T = TypeVar("T")

FORECASTS = "forecasts"  # the note with what jobs have taught, see `Forecasts`
LOADS = "loads"  # the note with the times that loads took, see `LoadTimes`


def never(key: LoadKey) -> bool:
    """Return False: nothing is loaded."""
    return False


@dataclass(slots=True, kw_only=True, eq=False)
class Message(Generic[T]):
    """A command to the queue; `T` is the type of its answer."""

    reply: Reply[T] = field(default_factory=Reply)


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file to add."""

    id: str
    owner: str = ""  # the name of a token
    purpose: str
    filename: str
    lifetime: float | None = None  # seconds; None is the setting file_ttl, 0 for ever
    counted: bool = True  # False for results, which no quota refuses


class Accepted(msgspec.Struct, frozen=True):
    """The answer to an accepted submission, or to a retry."""

    job: Job
    position: int | None  # 1 is next; None when the job is not waiting for its turn
    seconds: float | None = None  # until a retried job is ready; None without an estimate
    claimed: bool = False  # a slot has it already
    late: float | None = None  # seconds by which it misses its `start_by`; None if in time, or without an estimate


class Work(msgspec.Struct, frozen=True):
    """A claimed job with the request for its target."""

    job: Job
    payload: bytes
    seq: int  # of the event that claimed it
    reserved: bool = False  # True when it overtook a job of a higher class
    charge: float = 0.0  # seconds of slot time that its caller was charged at the start
    opens: bool = False  # True when like jobs may wait until its prompt is computed

    def spent(self, seconds: float, loading: float) -> Spent:
        """Return the slot time of its attempt, in seconds with loading, which callers do not pay for."""
        job = self.job
        beyond = seconds - loading - self.charge
        return Spent(job.priority, seconds, self.reserved, job.key, job.caller_key, beyond)


class Answered(msgspec.Struct, frozen=True):
    """The outcome of a successful attempt."""

    artifacts: Sequence[Artifact]  # the completion first
    flaw: ForemanError | None = None  # an error of the answer that leaves the job done, such as a missing end
    tokens: Tokens = NO_TOKENS
    usage: JobUsage | None = None


@dataclass(slots=True)
class Submit(Message[Accepted]):
    """Add a job, or return the job that already has its idempotency key."""

    draft: Draft
    patient: bool = False  # True when its sender waits for the end of the job, so that both may be stored together


@dataclass(slots=True)
class SubmitMany(Message[Mapping[int, ForemanError]]):
    """Add the drafts, or none when the queue has no room for all.

    The answer has the errors of those that exceed a quota, by their index.
    """

    drafts: Sequence[Draft]


@dataclass(slots=True, eq=False)
class Claim(Message["Work | None"]):
    """Claim the next job for a free slot. It waits for one; the answer is None only after a Withdraw.

    A job that is new, and whose target may begin at once, is lent while the commit that stores it is under way.
    """

    target: str = ""  # the name of the slot's target
    loaded: Callable[[LoadKey], bool] = never  # True for a key that can start without loading; called in any thread
    spent: Spent | None = None  # the slot time of this slot's previous attempt
    reply: ClaimReply[Work] = field(default_factory=ClaimReply)


@dataclass(slots=True)
class Withdraw(Message[None]):
    """Answer all claims of a target that wait."""

    target: str = ""


@dataclass(slots=True)
class Began(Message[None]):
    """Record that the target has the request."""

    job_id: str
    fence: int
    loaded: bool = False  # True when the model had to be loaded first
    seconds: float = 0.0  # that the load took


@dataclass(slots=True)
class Computed(Message[None]):
    """Record that the target has computed a job's prompt: its answer begins."""

    job_id: str
    fence: int


@dataclass(slots=True)
class Finished(Message[None]):
    """Record the outcome of an attempt. Dropped when the fence is no longer current."""

    job_id: str
    fence: int
    outcome: Answered | ForemanError
    claim: Claim | None = None  # whose work it was
    numbered: int = 0  # events of the answer with numbers that no later attempt may use


@dataclass(slots=True)
class BrokenOff(Message[None]):
    """Count the tokens of an attempt whose job was cancelled or took too long, as far as they are known."""

    job: Job  # as it ran
    tokens: Tokens


@dataclass(slots=True)
class Rescue(Message[int]):
    """Requeue the jobs left running by a dead worker, and forget its claims; the answer is the number of jobs.

    Those are the running jobs of all targets but the `others`, which have workers of their own.
    """

    target: str = ""
    others: Collection[str] = ()


@dataclass(slots=True)
class Beat(Message[None]):
    """Tell the other nodes how this one is, evict those that are silent, and find a coordinator if there is none."""

    targets: Sequence[TargetReport]
    state: NodeState = NodeState.UP


@dataclass(slots=True)
class Cancel(Message[Job]):
    """Cancel a job that has not ended."""

    job_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class Uncancel(Message[Job]):
    """Queue a job again that was cancelled while it was queued, as it was."""

    job_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class Retry(Message[Accepted]):
    """Queue a failed, cancelled or expired job again with fresh attempts."""

    job_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class Delete(Message[None]):
    """Delete an ended job with its artifacts and deliveries."""

    job_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class DeliveryEnded(Message[None]):
    """Record the outcome of one attempt to deliver a webhook."""

    delivery: AnyDelivery
    sent: Sent


@dataclass(slots=True)
class Redeliver(Message[Delivery]):
    """Deliver an event's webhook again, in any state of the delivery."""

    job_id: str
    seq: int
    caller: Caller = FOREMAN


@dataclass(slots=True)
class Pause(Message[None]):
    """Claim no more jobs until Resume, also after restarts; running jobs go on."""


@dataclass(slots=True)
class Resume(Message[None]):
    """Claim jobs again."""


@dataclass(slots=True)
class Note(Message[None]):
    """Store a small fact that outlives restarts."""

    name: str
    value: str


@dataclass(slots=True)
class Prune(Message[int]):
    """Delete up to `most` jobs past their expiry; the answer is their number."""

    most: int


@dataclass(slots=True)
class AddFile(Message[tuple[File, bool]]):
    """Add a file whose bytes are stored; the answer is the file, and False when another blob has its bytes."""

    new: NewFile
    blob: Blob


@dataclass(slots=True)
class DeleteFile(Message[None]):
    """Delete a file."""

    file_id: str
    caller: Caller = FOREMAN


@dataclass(slots=True)
class PruneFiles(Message[int]):
    """Delete up to `most` files past their expiry; the answer is their number."""

    most: int


@dataclass(slots=True)
class DropBlobs(Message[list[str]]):
    """Delete those of the blobs that nothing has; the answer is the keys of their bytes, which are still stored."""

    digests: Sequence[str]


@dataclass(slots=True)
class DropPieces(Message[int]):
    """Delete some pieces of a blob without a row, up to DROPPED; the answer is their number."""

    key: str


@dataclass(slots=True)
class KeepUsage(Message[None]):
    """Sample how many jobs run, and prune old usage figures."""


@dataclass(slots=True)
class KeepIndex(Message[bool]):
    """Make or drop the index of words by one step; the answer is True while there is more to do."""


@dataclass(slots=True)
class Look(Message[None]):
    """Look at what other nodes have committed, before it is time to."""


@dataclass(slots=True)
class Checkpoint(Message[int]):
    """Checkpoint the write-ahead log; the answer is its size in bytes before."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The changes of one transaction, and what other nodes have committed before it."""

    events: Sequence[JobEvent]  # of this node
    posted: bool = False  # True when there are webhooks to deliver
    # Running jobs that are to give way, each with the job that goes first.
    giving_way: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[JobEvent] = ()  # of other nodes
    may_claim: Collection[str] = ()  # nodes that have a slot free for what this one has queued
    # Set once another node has deleted jobs before this one heard how they ended: those of them that ran, each with the
    # newest event by then: a later claim of such a job holds, also one by the commit itself.
    missed: Mapping[str, int] | None = None

    @property
    def all_events(self) -> Sequence[JobEvent]:
        """Return the events of all nodes in order; nothing lies between one commit's and the next one's."""
        if not self.others:
            return self.events
        return sorted((*self.others, *self.events), key=lambda event: event.seq)


class Listener(Protocol):
    """A callback for commits."""

    def __call__(self, commit: Commit, /) -> None:
        """Handle a commit on the event loop, without blocking."""
        ...


class Queue(Protocol):
    """The queue actor as the other actors see it."""

    async def ask(self, message: Message[T]) -> T:
        """Send a message and return its answer once it is on disk. Raise the error it was answered with."""

    async def tell(self, message: Message[T]) -> None:
        """Send a message without waiting for its answer. One sender's messages are applied in the order sent."""
