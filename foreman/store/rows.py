"""Rows to records and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from foreman.job import Change, Delivery, DeliveryState, Draft, Instant, Job, Priority, State

COLUMNS = (
    "id, state, model, drain_key, endpoint, priority, attempt, max_attempts, lease, created_at, since, ready_at, "
    "start_by, timeout, started_at, completed_at, expires_at, error, error_code, metadata, custom_id, webhook_url, "
    "webhook_events, owner, most_tokens"
)

DELIVERY = "seq, job_id, receiver, url, state, attempts, due_at, status, error, ended_at"
DRAFT = (
    "id, state, model, drain_key, endpoint, priority, max_attempts, created_at, since, ready_at, start_by, timeout, "
    "metadata, custom_id, webhook_url, webhook_events, idempotency_key, fingerprint, owner, "
    "most_tokens"
)

ROWS_AT_ONCE = 50  # in one statement

_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_events = msgspec.json.Decoder(tuple[State, ...]).decode


def read_job(row: sqlite3.Row | tuple[object, ...]) -> Job:
    """A row of COLUMNS as a Job."""
    values = tuple(row)
    metadata, events = values[19], values[22]
    return Job(
        id=values[0],
        state=State(values[1]),
        model=values[2],
        key=values[3],
        endpoint=values[4],
        priority=Priority(values[5]),
        attempt=values[6],
        max_attempts=values[7],
        lease=values[8],
        created_at=values[9],
        since=values[10],
        ready_at=values[11],
        start_by=values[12],
        timeout=values[13],
        started_at=values[14],
        completed_at=values[15],
        expires_at=values[16],
        error=values[17],
        error_code=values[18],
        metadata=_decode_metadata(metadata) if metadata is not None else None,
        custom_id=values[20],
        webhook_url=values[21],
        webhook_events=_decode_events(events) if events is not None else None,
        owner=values[23],
        most_tokens=values[24],
    )


def read_change(row: tuple[Any, ...]) -> Change:
    """A row of (seq, job_id, state, previous, at, model, attempt, error, custom_id, owner) as a Change."""
    seq, job_id, state, previous, at, model, attempt, error, custom_id, owner = row
    return Change(
        seq=seq,
        job_id=job_id,
        state=State(state),
        previous=State(previous) if previous is not None else None,
        at=at,
        model=model,
        attempt=attempt,
        error=error,
        custom_id=custom_id,
        owner=owner,
    )


def read_delivery(row: tuple[Any, ...]) -> Delivery:
    """A row of DELIVERY as a Delivery."""
    seq, job_id, receiver, url, state, attempts, due_at, status, error, ended_at = row
    return Delivery(
        seq=seq,
        job_id=job_id,
        receiver=receiver,
        url=url,
        state=DeliveryState(state),
        attempts=attempts,
        due_at=due_at,
        status=status,
        error=error,
        ended_at=ended_at,
    )


def draft_row(draft: Draft, now: Instant) -> tuple[object, ...]:
    """The values of DRAFT, for a job in state queued."""
    parked = draft.not_before is not None and draft.not_before > now
    return (
        draft.id,
        "queued",
        draft.model,
        draft.key,
        draft.endpoint,
        int(draft.priority),
        draft.max_attempts,
        now,
        max(now, draft.not_before or 0.0),
        draft.not_before if parked else None,
        draft.start_by,
        draft.timeout,
        msgspec.json.encode(draft.metadata).decode() if draft.metadata is not None else None,
        draft.custom_id,
        draft.webhook_url,
        msgspec.json.encode(draft.webhook_events).decode() if draft.webhook_events is not None else None,
        draft.idempotency_key,
        draft.fingerprints[0] if draft.fingerprints else None,
        draft.owner,
        draft.most_tokens,
    )


def insert(db: sqlite3.Connection, table: str, columns: str, rows: Sequence[tuple[object, ...]]) -> int:
    """Insert the rows in their order, many with one statement; the last one's number.

    Every step of a statement gives up the interpreter's lock, and beside a busy event loop it takes up to 5 ms to get
    it back: a thousand single rows would take as long as everybody else wishes.
    """
    last = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        last = db.execute(_insertion(table, columns, len(some)), tuple(chain.from_iterable(some))).lastrowid or 0
    return last


@lru_cache(maxsize=256)
def _insertion(table: str, columns: str, count: int) -> str:
    row = f"({', '.join('?' * (columns.count(',') + 1))})"
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * count)}"
