"""Types of Foreman's answers; keys that a newer Foreman adds are ignored."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import msgspec

from foreman.client.extract import ToolCall, Usage, embeddings_of, text_of, thinking_of, tool_calls_of, usage_of
from foreman.domain.job import TERMINAL, State

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class Accepted(msgspec.Struct, frozen=True):
    """A stored job."""

    job_id: str
    state: State = State.QUEUED
    queue_position: int | None = None  # 1 is next
    links: dict[str, str] = {}  # paths relative to Foreman's URL: self, events, stream, cancel


class Taken(msgspec.Struct, frozen=True):
    """An accepted line of NDJSON, stored as a job."""

    line: int  # 1 is the first
    job_id: str
    custom_id: str | None = None


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rejected line of NDJSON."""

    line: int
    error: str
    code: str = ""
    hint: str | None = None


class Submitted(msgspec.Struct, frozen=True):
    """Outcome of many submitted lines."""

    accepted: int
    rejected: int
    jobs: list[Taken] = []
    errors: list[Rejected] = []
    last: int = 0  # the number of the last line covered


class Artifact(msgspec.Struct, frozen=True):
    """A named, typed blob of a finished job; small ones carry `data`, others a `url` relative to Foreman's."""

    name: str
    content_type: str
    size: int  # bytes
    data: str | None = None
    encoding: str | None = None  # "base64", or None when `data` is the text itself
    url: str | None = None

    @property
    def content(self) -> bytes | None:
        """The bytes of `data`; None when only `url` has them."""
        if self.data is None:
            return None
        return base64.b64decode(self.data) if self.encoding == "base64" else self.data.encode()


class Job(msgspec.Struct, frozen=True):
    """A job. Lists leave out `result` and the data of artifacts."""

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
    owner: str | None = None  # the name of the token used to submit it
    queue_position: int | None = None  # 1 is next; 1000 stands for 1000 or more
    eta_seconds: float | None = None
    not_before: Moment | None = None
    expires_at: Moment | None = None  # when it will be pruned
    links: dict[str, str] = {}  # paths relative to Foreman's URL: self, events, stream, cancel
    caller: str | None = None  # the same as owner

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL

    @property
    def text(self) -> str:
        """The text of the answer, of any endpoint; empty when it has none."""
        return text_of(self.result)

    @property
    def thinking(self) -> str:
        """The reasoning text of the answer; empty when it has none."""
        return thinking_of(self.result)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The function calls that the model requests."""
        return tool_calls_of(self.result)

    @property
    def embeddings(self) -> list[list[float]]:
        """The vectors of an embeddings job, one for each input."""
        return embeddings_of(self.result)

    @property
    def usage(self) -> Usage:
        """The token counts of prompt and answer."""
        return usage_of(self.result)


class Webhook(msgspec.Struct, frozen=True):
    """The body of a webhook to a job's `state_webhook_url`: one event."""

    job_id: str
    state: State
    timestamp: Moment
    model: str
    attempt: int
    seq: int  # increases from event to event
    previous_state: str = ""  # empty for a new job
    error: str | None = None
    result: Any = None  # the answer of a done job; a large one is only in the artifact `completion`
    artifacts: list[Artifact] | None = None
    custom_id: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL

    @property
    def text(self) -> str:
        """The text of the answer; empty when it has none, or is large."""
        return text_of(self.result)


class Page(msgspec.Struct, frozen=True):
    """A page of jobs, and the cursor of the next one."""

    jobs: list[Job]
    next: str | None = None  # pass as `after`; None at the end


class Line(msgspec.Struct, frozen=True):
    """The waiting jobs."""

    jobs: list[Job]  # that may start, in order
    scheduled: list[Job] = []  # that wait for their `not_before`, the soonest first


class Event(msgspec.Struct, frozen=True):
    """One event: a change of a job's state."""

    seq: int
    job_id: str
    state: State
    timestamp: Moment
    previous_state: str = ""  # empty for a new job
    model: str = ""
    attempt: int = 0
    error: str | None = None
    custom_id: str | None = None
    type: str = "state"

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL


class Events(msgspec.Struct, frozen=True):
    """A page of the events of one job, oldest first, and the cursor of the next one."""

    events: list[Event]
    next: int | None = None  # pass as `after`; None at the end


class Delivery(msgspec.Struct, frozen=True):
    """The delivery of one webhook: of one event of a job."""

    delivery_id: str
    seq: int  # of the event
    url: str
    state: str  # due, delivered, dead (its last retry failed), or stopped (the receiver answered 410)
    attempts: int
    due_at: Moment | None = None
    status: int | None = None  # of the last answer
    error: str | None = None
    ended_at: Moment | None = None


class Deliveries(msgspec.Struct, frozen=True):
    """A page of the webhook deliveries of one job, oldest first."""

    deliveries: list[Delivery]
    next: int | None = None  # pass as `after`; None at the end


class Running(msgspec.Struct, frozen=True):
    """A running job."""

    job_id: str
    model: str
    state: State
    attempt: int = 0
    started_at: Moment | None = None
    custom_id: str | None = None


class Defaults(msgspec.Struct, frozen=True):
    """Default values of a job's fields."""

    max_attempts: int = 1
    timeout: float = 0.0  # seconds that one attempt may take


class FailingModel(msgspec.Struct, frozen=True):
    """A model whose calls failed repeatedly; its jobs wait."""

    model: str
    error_code: str = ""  # of the last of them
    since: Moment | None = None
    retry_at: Moment | None = None  # None while one is tried


class Queue(msgspec.Struct, frozen=True):
    """The state of the queue."""

    queued: int
    by_model: dict[str, dict[str, int]] = {}  # model → priority → jobs
    running: list[Running] = []
    resident: str | None = None
    slots: int = 1
    paused: bool = False
    degraded: bool = False  # the target cannot be reached
    failing_models: list[FailingModel] = []
    oldest_seconds: float | None = None
    scheduled: int = 0  # of the queued jobs, those that wait for their `not_before`
    defaults: Defaults = Defaults()


class Paused(msgspec.Struct, frozen=True):
    """The pause switch of the queue."""

    paused: bool


class Health(msgspec.Struct, frozen=True):
    """The liveness of Foreman and its target."""

    status: str
    degraded: bool = False
    target_error: str | None = None  # why it is degraded
    target_silent_seconds: float = 0.0  # for how long the target has owed an answer
    version: str = ""
    boot_id: str = ""  # of this run of the process


class Figures(msgspec.Struct, frozen=True):
    """Usage in one minute, hour or day, in total or for one name."""

    start: Moment = msgspec.field(name="from")
    by: str | None = None  # the model, caller, target or endpoint; None for all
    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt tokens
    answer_tokens: int = 0
    busy_seconds: float = 0.0  # over all slots
    wait_p50: float | None = None  # seconds; median wait
    wait_p95: float | None = None
    loads: int = 0
    waiting: int | None = None  # the most at once; None for a single name
    running: int | None = None


class Report(msgspec.Struct, frozen=True):
    """Usage from `start` up to `end`, by time."""

    step: str
    start: Moment = msgspec.field(name="from")
    end: Moment = msgspec.field(name="to")
    rows: list[Figures] = []
    since: Moment | None = None  # the start of the records
