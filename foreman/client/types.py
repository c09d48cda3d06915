"""What Foreman answers, typed. Keys that a newer Foreman adds are ignored."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import msgspec

from foreman.client.answer import ToolCall, Usage, embeddings_of, text_of, thinking_of, tool_calls_of, usage_of
from foreman.domain.job import TERMINAL, State

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class Accepted(msgspec.Struct, frozen=True):
    """A job that is stored and will be done."""

    job_id: str
    state: State = State.QUEUED
    queue_position: int | None = None  # 1 is next
    links: dict[str, str] = {}  # where more of it is, below Foreman's own url: self, events, stream, cancel


class Taken(msgspec.Struct, frozen=True):
    """A line of many that is stored as a job."""

    line: int  # 1 is the first
    job_id: str
    custom_id: str | None = None


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of many that is not a job."""

    line: int
    error: str
    code: str = ""
    hint: str | None = None


class Submitted(msgspec.Struct, frozen=True):
    """What became of many lines."""

    accepted: int
    rejected: int
    jobs: list[Taken] = []
    errors: list[Rejected] = []
    last: int = 0  # the number of the last line that this answers for


class Artifact(msgspec.Struct, frozen=True):
    """A named, typed blob of a finished job: small ones carry `data`, others a `url` below Foreman's own."""

    name: str
    content_type: str
    size: int  # bytes
    data: str | None = None
    encoding: str | None = None  # "base64", or none when `data` is the text itself
    url: str | None = None

    @property
    def content(self) -> bytes | None:
        """The bytes of `data`; None when they are behind `url`."""
        if self.data is None:
            return None
        return base64.b64decode(self.data) if self.encoding == "base64" else self.data.encode()


class Job(msgspec.Struct, frozen=True):
    """A job as Foreman shows it. Lists leave out `result` and the data of artifacts."""

    job_id: str
    state: State
    model: str
    created_at: Moment
    attempt: int  # attempts spent, the running one included
    started_at: Moment | None = None
    completed_at: Moment | None = None
    result: Any = None  # the target's final answer, in the shape of `endpoint`
    error: str | None = None
    error_code: str | None = None
    artifacts: list[Artifact] = []
    endpoint: str = "/api/chat"
    priority: str = "normal"
    max_attempts: int = 1
    metadata: dict[str, str] | None = None
    custom_id: str | None = None
    owner: str | None = None  # the name of the token that it was submitted with
    queue_position: int | None = None  # 1 is next; 1000 stands for 1000 or more
    eta_seconds: float | None = None
    not_before: Moment | None = None
    expires_at: Moment | None = None  # when it will be pruned
    links: dict[str, str] = {}  # where more of it is, below Foreman's own url: self, events, stream, cancel
    caller: str | None = None  # the same as owner

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def text(self) -> str:
        """The words of the answer, whichever shape it has; empty when it has none."""
        return text_of(self.result)

    @property
    def thinking(self) -> str:
        """What a reasoning model said to itself."""
        return thinking_of(self.result)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The functions that the model wants called."""
        return tool_calls_of(self.result)

    @property
    def embeddings(self) -> list[list[float]]:
        """The vectors of a job for an endpoint of embeddings, one for each input."""
        return embeddings_of(self.result)

    @property
    def usage(self) -> Usage:
        """How many tokens went in and came out."""
        return usage_of(self.result)


class Webhook(msgspec.Struct, frozen=True):
    """What Foreman posts to a job's `state_webhook_url`: one change of its state."""

    job_id: str
    state: State
    timestamp: Moment
    model: str
    attempt: int
    seq: int  # grows from change to change
    previous_state: str = ""  # empty when the job was just made
    error: str | None = None
    result: Any = None  # of a job that is done, unless it is large; then the artifact `completion` has it
    artifacts: list[Artifact] | None = None
    custom_id: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def text(self) -> str:
        """The words of the answer; empty when it has none, or is large."""
        return text_of(self.result)


class Page(msgspec.Struct, frozen=True):
    """Jobs in the order that was asked for, and where the next page begins."""

    jobs: list[Job]
    next: str | None = None  # pass as `after`; None at the end


class Line(msgspec.Struct, frozen=True):
    """What waits."""

    jobs: list[Job]  # that may start, the first in line first
    scheduled: list[Job] = []  # whose time is to come, the soonest first


class Event(msgspec.Struct, frozen=True):
    """One change of a job's state."""

    seq: int
    job_id: str
    state: State
    timestamp: Moment
    previous_state: str = ""  # empty when the job was just made
    model: str = ""
    attempt: int = 0
    error: str | None = None
    custom_id: str | None = None
    type: str = "state"

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL


class Events(msgspec.Struct, frozen=True):
    """Changes of one job, oldest first, and where the next page begins."""

    events: list[Event]
    next: int | None = None  # pass as `after`; None at the end


class Delivery(msgspec.Struct, frozen=True):
    """The webhook of one change of a job."""

    delivery_id: str
    seq: int  # of the change
    url: str
    state: str  # due, delivered, dead (its last retry failed), or stopped (the receiver answered 410)
    attempts: int
    due_at: Moment | None = None
    status: int | None = None  # of the last answer
    error: str | None = None
    ended_at: Moment | None = None


class Deliveries(msgspec.Struct, frozen=True):
    """A page of the webhooks of one job, oldest first."""

    deliveries: list[Delivery]
    next: int | None = None  # after which seq the next page begins


class Running(msgspec.Struct, frozen=True):
    """A job that runs now."""

    job_id: str
    model: str
    state: State
    attempt: int = 0
    started_at: Moment | None = None
    custom_id: str | None = None


class Defaults(msgspec.Struct, frozen=True):
    """What holds for a job that does not say it."""

    max_attempts: int = 1
    timeout: float = 0.0  # seconds that one attempt may take


class FailingModel(msgspec.Struct, frozen=True):
    """A model whose calls failed one after the other: its jobs wait."""

    model: str
    error_code: str = ""  # of the last of them
    since: Moment | None = None
    retry_at: Moment | None = None  # None while one is tried


class Queue(msgspec.Struct, frozen=True):
    """What waits and what runs."""

    queued: int
    by_model: dict[str, dict[str, int]] = {}  # model → priority → jobs
    running: list[Running] = []
    resident: str | None = None
    slots: int = 1
    paused: bool = False
    degraded: bool = False  # the target cannot be reached
    failing_models: list[FailingModel] = []
    oldest_seconds: float | None = None
    scheduled: int = 0  # of those that are queued, how many wait for a time to come
    defaults: Defaults = Defaults()


class Paused(msgspec.Struct, frozen=True):
    """Whether queued jobs are kept from starting."""

    paused: bool


class Health(msgspec.Struct, frozen=True):
    """Whether Foreman is alive, and whether its target can be reached and answers."""

    status: str
    degraded: bool = False
    target_error: str | None = None  # why not
    target_silent_seconds: float = 0.0  # for how long the target has owed an answer
    version: str = ""
    boot_id: str = ""  # of this run of the process


class Figures(msgspec.Struct, frozen=True):
    """What was done in a minute, an hour or a day, by all or by one of several."""

    start: Moment = msgspec.field(name="from")
    by: str | None = None  # the name that it is for; None for all
    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of those of the prompts
    answer_tokens: int = 0
    busy_seconds: float = 0.0  # of all slots together
    wait_p50: float | None = None  # seconds that half of the jobs had waited at most
    wait_p95: float | None = None
    loads: int = 0
    waiting: int | None = None  # the most at once; None by name
    running: int | None = None


class Report(msgspec.Struct, frozen=True):
    """What was done from `start` up to `end`, by time."""

    step: str
    start: Moment = msgspec.field(name="from")
    end: Moment = msgspec.field(name="to")
    rows: list[Figures] = []
    since: Moment | None = None  # when counting began: nothing is known of before
