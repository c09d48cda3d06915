"""What a job is: its states and legal steps, its draft, its record, and its drain key."""

from __future__ import annotations

import hashlib
from enum import IntEnum, StrEnum
from typing import TypeAlias

import msgspec

from foreman.domain.endpoints import Endpoint
from foreman.domain.errors import IllegalTransition

Instant: TypeAlias = float  # seconds since the epoch, UTC
LoadKey: TypeAlias = str  # jobs of one key can follow each other without a reload


class State(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"  # the model is being made resident
    WORKING = "working"  # the target has the request
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Priority(IntEnum):
    """Lower goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @property
    def word(self) -> str:
        return self.name.lower()


RUNNING = frozenset({State.LOADING, State.WORKING})
TERMINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.EXPIRED})
RETRIABLE = TERMINAL - {State.DONE}  # may be queued again by hand

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.LOADING, State.CANCELLED, State.EXPIRED, State.FAILED}),
    State.LOADING: frozenset({State.WORKING, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.WORKING: frozenset({State.DONE, State.FAILED, State.QUEUED, State.CANCELLED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.EXPIRED: frozenset({State.QUEUED}),
}

MOST_IN_KEY = 256  # bytes of options as they are; with the longest name of a model a key stays below 512 characters

# Changing one of these makes Ollama load the model again, so they are part of the drain key.
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


def check_transition(verb: str, before: State, after: State) -> None:
    """Raise IllegalStep if a job may not go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(verb, before)


def load_key(model: str, options: dict[str, object] | None = None) -> LoadKey:
    """Return the model, plus those of its options that would make the server load it anew: their digest if long.

    A key is part of many rows and is compared with every other one.
    """
    chosen = {name: _whole(options[name]) for name in RELOADING_OPTIONS if options and options.get(name) is not None}
    if not chosen:
        return model
    text = msgspec.json.encode(chosen, order="sorted")
    if len(text) > MOST_IN_KEY:
        text = msgspec.json.encode({"sha256": hashlib.sha256(text).hexdigest()})
    return f"{model} {text.decode()}"


def _whole(value: object) -> object:
    """4096.0 as 4096: servers take the one for the other."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def model_of(key: LoadKey) -> str:
    """The model of a drain key."""
    return key.partition(" {")[0]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A job as submitted, checked, with its id; not yet stored."""

    id: str
    model: str  # as the caller named it
    key: LoadKey
    endpoint: Endpoint
    payload: bytes  # JSON for the target, Foreman's own fields taken out
    priority: Priority = Priority.NORMAL
    max_attempts: int = 3
    not_before: Instant | None = None
    start_by: Instant | None = None
    timeout: float | None = None  # seconds
    metadata: dict[str, str] | None = None
    custom_id: str | None = None
    webhook_url: str | None = None
    webhook_events: tuple[State, ...] | None = None  # None: all
    owner: str = ""  # the name of the token that it came with
    idempotency_key: str | None = None
    fingerprints: tuple[bytes, ...] = ()  # of a body with an idempotency key: the one to store, then its equals
    most_tokens: int | None = None  # that the answer may have, where the payload says so


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as stored, without its payload, answer and artifacts."""

    id: str
    state: State
    model: str
    key: LoadKey
    endpoint: Endpoint
    priority: Priority
    attempt: int  # attempts spent, the running one included
    max_attempts: int
    fence: int  # grows with every claim; fences the writes of a claim that is no longer current
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
    most_tokens: int | None = None


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
    posted: bool = False  # a webhook carries it


class DeliveryState(StrEnum):
    DUE = "due"
    DELIVERED = "delivered"
    DEAD = "dead"  # the last retry failed; may be redelivered
    STOPPED = "stopped"  # the receiver answered 410 for this job


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook of one change."""

    seq: int  # of the change; there is one delivery for each
    job_id: str
    receiver: str  # scheme://host:port
    url: str
    state: DeliveryState
    attempts: int
    due_at: Instant
    status: int | None = None  # of the last answer
    error: str | None = None
    ended_at: Instant | None = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed blob of a finished job."""

    name: str
    content_type: str
    data: bytes
