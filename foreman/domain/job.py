"""Jobs: their states and transitions, drafts, records, events, deliveries and load keys."""

from __future__ import annotations

import hashlib
from enum import IntEnum, StrEnum
from typing import TypeAlias

import msgspec

from foreman.domain.errors import ForemanError, IllegalTransition

Instant: TypeAlias = float  # seconds since the epoch, UTC
LoadKey: TypeAlias = str  # jobs of one key can follow each other without a reload
CallerKey: TypeAlias = tuple[str, str]  # the name of a token, and of the caller under it; each may be empty
NOBODY: CallerKey = "", ""


class State(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    LOADING = "loading"  # the target is loading the model
    WORKING = "working"  # the target has the request
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Priority(IntEnum):
    """The priority class of a job; lower numbers run first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @property
    def word(self) -> str:
        """Return the name that the API uses."""
        return self.name.lower()


RUNNING = frozenset({State.LOADING, State.WORKING})
TERMINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.EXPIRED})
RETRIABLE = TERMINAL - {State.DONE}  # a caller may queue them again

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.LOADING, State.CANCELLED, State.EXPIRED, State.FAILED}),
    State.LOADING: frozenset({State.WORKING, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.WORKING: frozenset({State.DONE, State.FAILED, State.QUEUED, State.CANCELLED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.EXPIRED: frozenset({State.QUEUED}),
}

JOB_ID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"  # a ULID as it is shown
MOST_IN_KEY = 256  # bytes of options kept verbatim; with the longest model name a key stays below 512 characters

# Changing one of these makes Ollama load the model again, so they are part of the load key.
RELOADING_OPTIONS = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
    "adapters",
)


def check_transition(action: str, before: State, after: State) -> None:
    """Raise IllegalTransition unless a job may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(action, before)


def load_key(model: str, options: dict[str, object] | None = None) -> LoadKey:
    """Return the load key of a model with options.

    The key holds the options that force a reload, or their digest when they are long: it is part of many rows and is
    compared often.
    """
    chosen = {name: _whole(options[name]) for name in RELOADING_OPTIONS if options and options.get(name) is not None}
    if not chosen:
        return model
    text = msgspec.json.encode(chosen, order="sorted")
    if len(text) > MOST_IN_KEY:
        text = msgspec.json.encode({"sha256": hashlib.sha256(text).hexdigest()})
    return f"{model} {text.decode()}"


def _whole(value: object) -> object:
    """Return 4096.0 as 4096, since servers treat both alike."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def model_of(key: LoadKey) -> str:
    """Return the model of a load key."""
    return key.partition(" {")[0]


def at_node(name: str, node: str) -> str:
    """Return `NAME@NODE`, the name of a node's own target or note; the name alone where one node has all."""
    return f"{name}@{node}" if node else name


def node_of(target: str | None) -> str:
    """Return the node of a target's name, `NAME@NODE`; empty where one node has all targets."""
    return target.partition("@")[2] if target else ""


class JobUsage(msgspec.Struct, frozen=True, array_like=True):
    """What the answer of a job took; the counts are None when the server does not tell them."""

    prompt_tokens: int | None
    cached_tokens: int | None  # of the prompt's
    answer_tokens: int | None
    first_token_seconds: float | None  # from the request to the target until the answer began
    tokens_per_second: float | None  # of the answer, once it had begun


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A submitted job: checked, with an id, not yet stored."""

    id: str
    model: str  # the caller's name for it
    key: LoadKey
    endpoint: str
    payload: bytes  # JSON for the target, without Foreman's own fields
    priority: Priority = Priority.NORMAL
    max_attempts: int = 3
    not_before: Instant | None = None
    start_by: Instant | None = None
    timeout: float | None = None  # seconds
    metadata: dict[str, str] | None = None
    custom_id: str | None = None
    webhook_url: str | None = None
    webhook_events: tuple[State, ...] | None = None  # None: all
    owner: str = ""  # the name of the submitting token
    caller: str = ""  # the name of the caller under that token
    prefix: bytes = b""  # of the prompt, see `prefixes.path`
    idempotency_key: str | None = None
    fingerprints: tuple[bytes, ...] = ()  # with an idempotency key: the one to store, then equivalent ones
    most_tokens: int | None = None  # limit of the answer, if the payload sets one
    excerpt: str | None = None  # of the prompt, see `excerpts.excerpt`
    batch_id: str | None = None  # of the batch that it is a line of
    batch_line: int | None = None  # 0 is the first
    refusal: ForemanError | None = None  # raised unless the idempotency key has its job already


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A stored job, without its payload, answer and artifacts."""

    id: str
    state: State
    model: str
    key: LoadKey
    endpoint: str
    priority: Priority
    attempt: int  # attempts spent, including the running one
    max_attempts: int
    # Grows with every claim, and for responses by the events of the attempt; writes with an older fence are dropped.
    fence: int
    created_at: Instant
    since: Instant  # when it began to wait
    ready_at: Instant | None = None  # stays queued until then
    start_by: Instant | None = None
    timeout: float | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    expires_at: Instant | None = None  # when it will be pruned
    error: str | None = None
    error_code: str | None = None
    metadata: dict[str, str] | None = None
    custom_id: str | None = None
    webhook_url: str | None = None
    webhook_events: tuple[State, ...] | None = None
    owner: str = ""
    caller: str = ""
    prefix: bytes = b""
    gave_way: int = 0  # how often it gave way to a job of class `high`
    most_tokens: int | None = None
    target: str | None = None  # of the latest attempt
    batch_id: str | None = None  # of the batch that it is a line of
    batch_line: int | None = None  # 0 is the first
    excerpt: str | None = None  # of the prompt
    usage: JobUsage | None = None  # of the answer; None until there is one

    @property
    def caller_key(self) -> CallerKey:
        """Return who shares the slot time with others."""
        return self.owner, self.caller


def queued(draft: Draft, now: Instant) -> Job:
    """Return the job of a draft as it is first stored."""
    later = draft.not_before
    if later is not None and later <= now:
        later = None
    return Job(
        id=draft.id,
        state=State.QUEUED,
        model=draft.model,
        key=draft.key,
        endpoint=draft.endpoint,
        priority=draft.priority,
        attempt=0,
        max_attempts=draft.max_attempts,
        fence=0,
        created_at=now,
        since=now if later is None else later,
        ready_at=later,
        start_by=draft.start_by,
        timeout=draft.timeout,
        metadata=draft.metadata,
        custom_id=draft.custom_id,
        webhook_url=draft.webhook_url,
        webhook_events=draft.webhook_events,
        owner=draft.owner,
        caller=draft.caller,
        prefix=draft.prefix,
        most_tokens=draft.most_tokens,
        batch_id=draft.batch_id,
        batch_line=draft.batch_line,
        excerpt=draft.excerpt,
    )


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the event log: a job went from `previous` to `state`."""

    seq: int
    job_id: str
    state: State
    previous: State | None  # None: the job was just made
    at: Instant
    model: str
    attempt: int
    error: str | None = None
    custom_id: str | None = None
    owner: str = ""
    target: str | None = None  # of the latest attempt
    posted: bool = False  # True when a webhook carries it


class DeliveryState(StrEnum):
    """The state of a webhook delivery."""

    DUE = "due"
    DELIVERED = "delivered"
    DEAD = "dead"  # the last retry failed; may be redelivered
    STOPPED = "stopped"  # the receiver answered 410 for this job


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook of one event."""

    seq: int  # of the event; each has one delivery at most
    job_id: str
    receiver: str  # scheme://host:port
    url: str
    state: DeliveryState
    attempts: int
    due_at: Instant
    status: int | None = None  # of the last answer
    error: str | None = None
    ended_at: Instant | None = None
    owner: str = ""  # of the job

    @property
    def key(self) -> int:
        """Return what tells it from all other deliveries."""
        return self.seq

    @property
    def group(self) -> str:
        """Return what the deliveries that are sent one by one, and stopped together, have in common."""
        return self.job_id

    @property
    def webhook_id(self) -> str:
        """Return the value of the header webhook-id."""
        return f"msg_{self.job_id}_{self.seq}"


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed blob of a finished job."""

    name: str
    content_type: str
    data: bytes
