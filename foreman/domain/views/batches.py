"""Views of batches: as OpenAI's API shows them, and as Foreman's own."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import structs

from foreman.domain.batch_speed import seconds_left, speed
from foreman.domain.batches import ENDED, Batch, BatchState
from foreman.domain.files import FILE_ID
from foreman.domain.job import Instant
from foreman.domain.views.kinds import Count, Moment, Seconds, about, moment, schema

WINDOW = "24h"  # the only one that the API knows; the setting batch_window is how long it is


class OpenAIBatchError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a batch, or a line of its input."""

    code: str
    line: int | None
    message: str
    param: str | None


class OpenAIBatchErrors(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a batch."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[OpenAIBatchError]


class OpenAIBatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines of a batch have ended; `failed` has the cancelled and expired ones, too."""

    total: Count
    completed: Count
    failed: Count


class OpenAICachedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of prompts that needed no computation."""

    cached_tokens: Count


class OpenAIReasoningTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of answers that are reasoning; no server counts them for all endpoints."""

    reasoning_tokens: Count = 0


class OpenAIBatchUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a batch."""

    input_tokens: Count
    input_tokens_details: OpenAICachedTokens
    output_tokens: Count
    output_tokens_details: OpenAIReasoningTokens
    total_tokens: Count


class OpenAIBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch, as OpenAI's API shows it. Times are seconds since the epoch."""

    id: str
    object: Annotated[str, schema(enum=["batch"])] = "batch"
    endpoint: str
    model: Annotated[str | None, about("Of all lines, if they have one.")]
    errors: OpenAIBatchErrors | None
    input_file_id: str
    completion_window: Annotated[str, schema(enum=[WINDOW])] = WINDOW
    status: BatchState
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: Annotated[int | None, about("By the setting batch_window.")]
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: OpenAIBatchCounts
    usage: OpenAIBatchUsage
    metadata: dict[str, str] | None


class OpenAIBatches(msgspec.Struct, frozen=True, kw_only=True):
    """A list of batches, as OpenAI's API shows it."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[OpenAIBatch]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a batch, or a line of its input."""

    code: str
    message: str
    line: Annotated[int | None, about("1 is the first.")] = None
    param: str | None = None


class Batched(msgspec.Struct, frozen=True, kw_only=True):
    """A batch."""

    batch_id: str
    state: BatchState
    kind: Annotated[str, about("The API that made it.")] = "openai"
    name: str | None = None
    endpoint: Annotated[str, about("Of all lines; empty when they have several.")]
    model: Annotated[str | None, about("Of all lines, if they have one.")] = None
    total: Annotated[Count | None, about("Lines; null until the input is checked.")] = None
    queued: Annotated[Count, about("Lines that are jobs and have not ended.")] = 0
    done: Count = 0
    failed: Count = 0
    cancelled: Count = 0
    expired: Count = 0
    lines_per_minute: Annotated[
        float | None, schema(minimum=0), about("Lines done or failed, since it is in progress; null before the first.")
    ] = None
    eta_seconds: Annotated[
        Seconds | None,
        about("Expected time until its last line ends, at the speed so far; null while that is not known."),
    ] = None
    prompt_tokens: Count = 0
    cached_tokens: Annotated[Count, about("Part of `prompt_tokens`.")] = 0
    answer_tokens: Count = 0
    created_at: Moment
    ends_by: Annotated[Moment | None, about("Lines that have not ended then expire.")] = None
    ended_at: Moment | None = None
    times: Annotated[dict[str, Moment], about("When it entered each state.")] = {}
    expires_at: Annotated[Moment | None, about("Time of removal.")] = None
    owner: Annotated[str | None, about("Name of the token that made it.")] = None
    metadata: dict[str, str] | None = None
    errors: Annotated[list[BatchError], about("What is wrong with its input.")] = []
    links: Annotated[dict[str, str], about("Paths relative to Foreman's URL.")] = {}


class BatchWebhook(Batched, frozen=True, kw_only=True):
    """The body of the webhook for the end of a batch."""

    event: Annotated[str, schema(enum=["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"])]
    timestamp: Moment


class BatchPage(msgspec.Struct, frozen=True):
    """A page of batches, newest first."""

    batches: list[Batched]
    next: Annotated[str | None, about("Cursor of the next page; null at the end.")] = None


def show_openai_batch(batch: Batch) -> OpenAIBatch:
    """Return a batch as OpenAI's API shows it."""
    counts, times = batch.counts, {name: int(at) for name, at in batch.times.items()}
    faults = [
        OpenAIBatchError(code=one.code, line=one.line, message=one.message, param=one.param) for one in batch.errors
    ]
    return OpenAIBatch(
        id=batch.id,
        endpoint=batch.endpoint,
        model=batch.model,
        errors=OpenAIBatchErrors(data=faults) if faults else None,
        input_file_id=batch.input_file,
        status=batch.state,
        output_file_id=batch.output_file,
        error_file_id=batch.error_file,
        created_at=int(batch.created_at),
        in_progress_at=times.get("in_progress"),
        expires_at=None if batch.ends_by is None else int(batch.ends_by),
        finalizing_at=times.get("finalizing"),
        completed_at=times.get("completed"),
        failed_at=times.get("failed"),
        expired_at=times.get("expired"),
        cancelling_at=times.get("cancelling"),
        cancelled_at=times.get("cancelled"),
        request_counts=OpenAIBatchCounts(
            total=batch.total or 0, completed=counts.completed, failed=counts.ended - counts.completed
        ),
        usage=OpenAIBatchUsage(
            input_tokens=counts.prompt_tokens,
            input_tokens_details=OpenAICachedTokens(cached_tokens=counts.cached_tokens),
            output_tokens=counts.answer_tokens,
            output_tokens_details=OpenAIReasoningTokens(),
            total_tokens=counts.prompt_tokens + counts.answer_tokens,
        ),
        metadata=batch.metadata,
    )


def show_openai_batches(batches: list[Batch], *, has_more: bool) -> OpenAIBatches:
    """Return a page of batches as OpenAI's API shows it."""
    shown = [show_openai_batch(batch) for batch in batches]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return OpenAIBatches(data=shown, first_id=first, last_id=last, has_more=has_more)


def show_batch(batch: Batch, now: Instant, *, up: bool) -> Batched:
    """Return a batch as Foreman shows it; unless jobs may start (`up`), nothing is known of its end."""
    measured, left = speed(batch, now), seconds_left(batch, now) if up else None
    base, counts = f"/batches/{batch.id}", batch.counts
    links = {"self": base, "cancel": f"{base}/cancel", "jobs": f"/jobs?batch_id={batch.id}"}
    if batch.state in ENDED:
        links["results"] = f"{base}/results"
    links |= {
        name: f"/v1/files/{file}/content"
        for name, file in (("output", batch.output_file), ("errors", batch.error_file))
        if file is not None and FILE_ID.fullmatch(file)
    }
    return Batched(
        batch_id=batch.id,
        state=batch.state,
        kind=batch.kind,
        name=batch.name,
        endpoint=batch.endpoint,
        model=batch.model,
        total=batch.total,
        queued=batch.running,
        done=counts.completed,
        failed=counts.failed,
        cancelled=counts.cancelled,
        expired=counts.expired,
        lines_per_minute=None if measured is None else round(measured, 2),
        eta_seconds=None if left is None else round(left, 1),
        prompt_tokens=counts.prompt_tokens,
        cached_tokens=counts.cached_tokens,
        answer_tokens=counts.answer_tokens,
        created_at=moment(batch.created_at),
        ends_by=moment(batch.ends_by),
        ended_at=moment(batch.ended_at),
        times={state: moment(at) for state, at in batch.times.items()},
        expires_at=moment(batch.expires_at) if batch.expires_at else None,
        owner=batch.owner or None,
        metadata=batch.metadata,
        errors=[BatchError(code=one.code, message=one.message, line=one.line, param=one.param) for one in batch.errors],
        links=links,
    )


def show_batch_webhook(batch: Batch, event: str, at: Instant, now: Instant) -> BatchWebhook:
    """Return the body of the webhook for the end of a batch."""
    return BatchWebhook(event=event, timestamp=moment(at), **structs.asdict(show_batch(batch, now, up=False)))
