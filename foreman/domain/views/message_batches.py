"""Views of batches as Anthropic's API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from foreman.domain.batches import ENDED, Batch, BatchState
from foreman.domain.views.kinds import Count, Moment, about, moment, schema

MESSAGE_BATCHES = "/v1/messages/batches"
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # clients demand a time


class MessageBatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a batch by their end; all are `processing` until the whole batch has ended."""

    processing: Count = 0
    succeeded: Count = 0
    errored: Count = 0
    canceled: Count = 0
    expired: Count = 0


class MessageBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch, as Anthropic's API shows it."""

    id: str
    type: Annotated[str, schema(enum=["message_batch"])] = "message_batch"
    processing_status: Annotated[str, schema(enum=["in_progress", "canceling", "ended"])]
    request_counts: MessageBatchCounts
    created_at: Moment
    expires_at: Annotated[Moment, about("By the setting batch_window; the year 9999 without one.")]
    ended_at: Moment | None
    cancel_initiated_at: Moment | None
    archived_at: Annotated[Moment | None, about("Always null: a batch goes with its results.")] = None
    results_url: Annotated[str | None, about("Null until it has ended.")]


class MessageBatches(msgspec.Struct, frozen=True, kw_only=True):
    """A list of batches, as Anthropic's API shows it."""

    data: list[MessageBatch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class MessageBatchDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a deletion, in Anthropic's API."""

    id: str
    type: Annotated[str, schema(enum=["message_batch_deleted"])] = "message_batch_deleted"


def show_message_batch(batch: Batch, base: str) -> MessageBatch:
    """Return a batch as Anthropic's API shows it; `base` is Foreman's URL as the caller knows it."""
    ended, counts = batch.state in ENDED, batch.counts
    status = "canceling" if batch.state is BatchState.CANCELLING else "in_progress"
    return MessageBatch(
        id=batch.id,
        processing_status="ended" if ended else status,
        request_counts=MessageBatchCounts(
            succeeded=counts.completed, errored=counts.failed, canceled=counts.cancelled, expired=counts.expired
        )
        if ended
        else MessageBatchCounts(processing=batch.total or 0),
        created_at=moment(batch.created_at),
        expires_at=NEVER if batch.ends_by is None else moment(batch.ends_by),
        ended_at=moment(batch.ended_at),
        cancel_initiated_at=moment(batch.times.get(BatchState.CANCELLING)),
        results_url=f"{base}{MESSAGE_BATCHES}/{batch.id}/results" if ended else None,
    )


def show_message_batches(batches: list[Batch], base: str, *, has_more: bool) -> MessageBatches:
    """Return a page of batches as Anthropic's API shows it."""
    shown = [show_message_batch(batch, base) for batch in batches]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return MessageBatches(data=shown, has_more=has_more, first_id=first, last_id=last)
