"""Views of jobs, submissions and artifacts."""

from __future__ import annotations

import base64
from math import ceil
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import field
from msgspec.structs import astuple

from foreman.domain.excerpts import MOST_EXCERPT
from foreman.domain.job import TERMINAL, State
from foreman.domain.job import Job as StoredJob
from foreman.domain.views.kinds import (
    AtLeastOne,
    Attempts,
    Count,
    EndpointName,
    JobId,
    Links,
    Metadata,
    Moment,
    PriorityName,
    Seconds,
    about,
    moment,
    schema,
)


class Accepted(msgspec.Struct, frozen=True):
    """A job that was stored."""

    job_id: str
    state: State = State.QUEUED
    queue_position: Annotated[AtLeastOne | None, about("1 is next; 1000 means 1000 or more.")] = None
    links: Links = {}
    warning: Annotated[str | None, about("Why its `start_by` cannot be met, by the forecast; else null.")] = None


class Taken(msgspec.Struct, frozen=True):
    """An accepted line of NDJSON, stored as a job."""

    line: Annotated[Count, about("1 is the first.")]
    job_id: str
    custom_id: str | None = None


class Rejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rejected line of NDJSON."""

    line: Count
    error: str
    code: str = field(default_factory=str)
    hint: str | None = None


class Acted(msgspec.Struct, frozen=True):
    """The outcome of an action on all jobs that filters select."""

    matched: Annotated[Count, about("Jobs that the filters select, counted up to 100000.")]
    done: Annotated[Count, about("Those that were changed.")]
    skipped: Annotated[Count, about("Those that were not: by their state, their batch, their owner or a limit.")]


class CancelledMany(Acted, frozen=True):
    """The outcome of a cancel of all jobs that filters select."""

    changes: Annotated[
        str | None,
        about("For `POST /jobs/uncancel`, which takes it back for those that were queued; null when none was."),
    ] = None


class Submitted(msgspec.Struct, frozen=True):
    """The outcome of each line of NDJSON."""

    accepted: Count
    rejected: Count
    jobs: list[Taken] = []
    errors: list[Rejected] = []


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named, typed blob of a job that is done; a large one has a `url` instead of `data`."""

    name: str
    content_type: str
    size: Annotated[Count, about("Bytes.")]
    encoding: Annotated[str | None, schema(enum=["base64"]), about("Left out when `data` is the text itself.")] = None
    data: str | None = None
    url: Annotated[str | None, about("Relative to Foreman's URL.")] = None

    @property
    def content(self) -> bytes | None:
        """The bytes of `data`; None when only `url` has them."""
        if self.data is None:
            return None
        return base64.b64decode(self.data) if self.encoding == "base64" else self.data.encode()


class JobUsage(msgspec.Struct, frozen=True):
    """What the answer of a job took; a count is null where the server does not tell it."""

    prompt_tokens: Count | None = None
    cached_tokens: Annotated[Count | None, about("Part of `prompt_tokens`.")] = None
    answer_tokens: Count | None = None
    first_token_seconds: Annotated[Seconds | None, about("From the request to the target until the answer began.")] = (
        None
    )
    tokens_per_second: Annotated[
        float | None, schema(minimum=0), about("Of the answer, once it had begun; null for one that came at once.")
    ] = None


class ListedJob(msgspec.Struct, frozen=True):
    """A job as lists show it, without its result and artifacts."""

    job_id: JobId
    state: State
    model: str
    created_at: Moment
    started_at: Moment | None = None
    completed_at: Moment | None = None
    attempt: Annotated[Count, about("Attempts spent, including the running one.")] = 0
    error: str | None = None
    error_code: str | None = None
    endpoint: EndpointName = "/api/chat"
    priority: PriorityName = "normal"
    max_attempts: Attempts = 1
    metadata: Metadata | None = None
    custom_id: str | None = None
    owner: Annotated[str | None, about("Name of the token that submitted the job.")] = None
    caller: Annotated[
        str | None, about("Who shares the slots with others: a name under the token, else the same as `owner`.")
    ] = None
    target: Annotated[str | None, about("Where the latest attempt runs or ran.")] = None
    queue_position: Annotated[AtLeastOne | None, about("1 is next; 1000 means 1000 or more.")] = None
    eta_seconds: Annotated[Seconds | None, about("Expected time until the start.")] = None
    not_before: Moment | None = None
    expires_at: Annotated[Moment | None, about("Time of removal.")] = None
    batch_id: Annotated[str | None, about("The batch that it is a line of, if any.")] = None
    prompt_excerpt: Annotated[
        str | None, about(f"The first {MOST_EXCERPT} characters of the last question, in one line; null without text.")
    ] = None
    used: Annotated[JobUsage | None, about("Null until done.")] = field(default=None, name="usage")
    links: Links = {}

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TERMINAL


REASONS = ("time", "paused", "target", "rests", "quota", "class", "turn", "caller", "prompt", "age", "slot")


class Why(msgspec.Struct, frozen=True):
    """The first reason for which a job waits."""

    reason: Annotated[
        str,
        schema(enum=list(REASONS)),
        about(
            "`time`: its start is in the future; `paused`: the queue; `target`: none serves it now; `rests`: its "
            "model, whose server was busy or failed; `quota`: as many jobs of its token run as may; `class`: a higher "
            "one goes first; `turn`: another model's; `caller`: others were served less; `prompt`: like ones go first; "
            "`age`: older jobs; `slot`: it is next."
        ),
    ]
    text: Annotated[str, about("In words.")]


class Job(ListedJob, frozen=True):
    """A job."""

    why: Annotated[Why | None, about("Why it waits; null unless it is queued.")] = None
    result: Annotated[Any, about("The target's answer, in the shape of `endpoint`; null until done.")] = None
    artifacts: list[Artifact] = []


class Page(msgspec.Struct, frozen=True):
    """A page of jobs, newest first."""

    jobs: list[ListedJob]
    next: Annotated[str | None, about("Cursor of the next page; null at the end.")] = None


class Line(msgspec.Struct, frozen=True):
    """The waiting jobs."""

    jobs: Annotated[list[ListedJob], about("Jobs ready to run, the next one first.")]
    scheduled: Annotated[list[ListedJob], about("Jobs with a future start, the soonest first.")] = []


AnyJob = TypeVar("AnyJob", bound=ListedJob)


def links(job_id: str) -> dict[str, str]:
    """Return the paths of a job's routes."""
    base = f"/jobs/{job_id}"
    return {"self": base, "events": f"{base}/events", "stream": f"{base}/stream", "cancel": f"{base}/cancel"}


def show_accepted(job: StoredJob, position: int | None, late: float | None = None) -> Accepted:
    """Return the answer to an accepted submission; `late` is by how many seconds it will miss its `start_by`."""
    warning = None
    if late is not None:
        warning = f"it will not start by the time given in start_by: by the forecast it starts {ceil(late)} s later"
    return Accepted(job.id, job.state, position, links(job.id), warning)


def show_job(
    kind: type[AnyJob], job: StoredJob, *, position: int | None = None, eta: float | None = None, **results: Any
) -> AnyJob:
    """Return a job as a view of this kind; `eta` is in seconds, `results` are the keys that only a Job has."""
    return kind(
        job_id=job.id,
        state=job.state,
        model=job.model,
        created_at=moment(job.created_at),
        started_at=moment(job.started_at),
        completed_at=moment(job.completed_at),
        attempt=job.attempt,
        error=job.error,
        error_code=job.error_code,
        endpoint=job.endpoint,
        priority=job.priority.word,
        max_attempts=job.max_attempts,
        metadata=job.metadata,
        custom_id=job.custom_id,
        owner=job.owner or None,
        caller=job.caller or job.owner or None,
        target=job.target,
        queue_position=position,
        eta_seconds=None if eta is None else round(eta, 1),
        not_before=moment(job.ready_at),
        expires_at=moment(job.expires_at),
        batch_id=job.batch_id,
        prompt_excerpt=job.excerpt,
        used=None if job.usage is None else JobUsage(*astuple(job.usage)),
        links=links(job.id),
        **results,
    )


def show_listed(job: StoredJob) -> ListedJob:
    """Return a job as a list shows it that says nothing of its place."""
    return show_job(ListedJob, job)
