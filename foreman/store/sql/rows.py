"""Conversion between rows and records."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.errors import JobUnreadable
from foreman.domain.job import Delivery, DeliveryState, Draft, Job, JobEvent, JobUsage, Priority, State
from foreman.domain.webhooks.addresses import receiver_of

COLUMNS = (
    "id, state, model, drain_key, endpoint, priority, attempt, max_attempts, lease, created_at, since, ready_at, "
    "start_by, timeout, started_at, completed_at, expires_at, error, error_code, metadata, custom_id, webhook_url, "
    "webhook_events, owner, most_tokens, target, caller, gave_way, batch_id, batch_line, excerpt, usage, "
    "prefix"
)

DELIVERY = "seq, job_id, receiver, url, state, attempts, due_at, status, error, ended_at, owner"
OR_CHANGE_DELIVERY = """ ON CONFLICT (seq) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,
    due_at = excluded.due_at, status = excluded.status, error = excluded.error, ended_at = excluded.ended_at"""
DRAFT = (
    "id, state, model, drain_key, endpoint, priority, max_attempts, created_at, since, ready_at, start_by, timeout, "
    "metadata, custom_id, webhook_url, webhook_events, idempotency_key, fingerprint, owner, most_tokens, caller, "
    "prefix, batch_id, batch_line, excerpt"
)
# Columns of a job that ran.
MOVED = "attempt, lease, started_at, completed_at, expires_at, error, error_code, target, usage"

EVENT = "seq, job_id, state, previous, at, model, attempt, error, custom_id, owner, target"

_FIRST, _END = -62_135_596_800, 253_402_300_800  # seconds: the years 1 to 9999, the range of RFC 3339

_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_usage = msgspec.json.Decoder(JobUsage).decode
_decode_events = msgspec.json.Decoder(tuple[State, ...]).decode


def text(data: bytes) -> str | bytes:
    """Return TEXT as str, or as bytes if it is not UTF-8; the functions below then raise JobUnreadable."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def read_job(row: tuple[Any, ...]) -> Job:
    """Return a row of COLUMNS as a Job. Raise JobUnreadable."""
    try:
        if any(type(value) is bytes for value in row[:32]):
            raise ValueError("text that is not UTF-8")
        for at in row[9:13] + row[14:17]:
            if at is not None:
                _check_time(at)
        _check_endpoint(row[4])
        _check_key(row[3])
        if row[21] is not None:
            receiver_of(row[21])
        return _job(row)
    except (ValueError, msgspec.DecodeError) as error:
        raise JobUnreadable(_shown(row[0]), _flaw(COLUMNS, row) or str(error)) from error


def _check_time(at: Any) -> None:
    if not _FIRST <= at < _END:
        raise ValueError("not a time between the years 1 and 9999")


def _check_endpoint(endpoint: Any) -> None:
    if endpoint not in ENDPOINTS:
        raise ValueError("not an endpoint")


@lru_cache(maxsize=1024)
def _check_key(key: str) -> None:
    """Raise ValueError or DecodeError unless the key has the form of `job.load_key`: a model, then options as JSON."""
    model, space, options = key.partition(" {")
    if not model:
        raise ValueError("no model in it")
    if space:
        msgspec.json.decode("{" + options, type=dict[str, msgspec.Raw])


def _flaw(columns: str, row: tuple[Any, ...]) -> str | None:
    """Return the text about the first unreadable value of a row, or None."""
    for name, value in zip(columns.split(", "), row, strict=False):
        if value is None or (type(value) is not bytes and name not in _READ):
            continue
        try:
            if type(value) is bytes:
                raise ValueError("not UTF-8")
            _READ[name](value)
        except (ValueError, msgspec.DecodeError) as error:
            return f"its {name} is {repr(value)[:80]}: {error}"
    return None


def _shown(job_id: object) -> str:
    return job_id if isinstance(job_id, str) else repr(job_id)


def _job(values: tuple[Any, ...]) -> Job:
    metadata, events, usage = values[19], values[22], values[31]
    return Job(
        id=values[0],
        state=State(values[1]),
        model=values[2],
        key=values[3],
        endpoint=values[4],
        priority=Priority(values[5]),
        attempt=values[6],
        max_attempts=values[7],
        fence=values[8],
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
        target=values[25],
        caller=values[26],
        gave_way=values[27],
        batch_id=values[28],
        batch_line=values[29],
        excerpt=values[30],
        usage=_decode_usage(usage) if usage is not None else None,
        prefix=values[32] or b"",
    )


def read_event(row: tuple[Any, ...]) -> JobEvent:
    """Return a row of EVENT as a JobEvent. Raise JobUnreadable."""
    try:
        if any(type(value) is bytes for value in row):
            raise ValueError("text that is not UTF-8")
        _check_time(row[4])
        return _event(row)
    except ValueError as error:
        why = _flaw(EVENT, row) or str(error)
        raise JobUnreadable(_shown(row[1]), f"of its event {row[0]} {why}") from error


def _event(row: tuple[Any, ...]) -> JobEvent:
    seq, job_id, state, previous, at, model, attempt, error, custom_id, owner, target = row
    return JobEvent(
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
        target=target,
    )


def read_delivery(row: tuple[Any, ...]) -> Delivery:
    """Return a row of DELIVERY as a Delivery. Raise JobUnreadable."""
    try:
        if any(type(value) is bytes for value in row):
            raise ValueError("text that is not UTF-8")
        for at in (row[6], row[9]):
            if at is not None:
                _check_time(at)
        receiver_of(row[3])
        return _delivery(row)
    except ValueError as error:
        why = _flaw(DELIVERY.replace("state", "delivery_state"), row) or str(error)
        raise JobUnreadable(_shown(row[1]), f"of its delivery {row[0]} {why}") from error


def _delivery(row: tuple[Any, ...]) -> Delivery:
    seq, job_id, receiver, url, state, attempts, due_at, status, error, ended_at, owner = row
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
        owner=owner,
    )


def delivery_row(delivery: Delivery) -> tuple[object, ...]:
    """Return the values of DELIVERY."""
    return (
        delivery.seq,
        delivery.job_id,
        delivery.receiver,
        delivery.url,
        delivery.state,
        delivery.attempts,
        delivery.due_at,
        delivery.status,
        delivery.error,
        delivery.ended_at,
        delivery.owner,
    )


def draft_row(draft: Draft, job: Job) -> tuple[object, ...]:
    """Return the values of DRAFT for the job of a draft."""
    return (
        job.id,
        job.state,
        job.model,
        job.key,
        job.endpoint,
        int(job.priority),
        job.max_attempts,
        job.created_at,
        job.since,
        job.ready_at,
        job.start_by,
        job.timeout,
        msgspec.json.encode(job.metadata).decode() if job.metadata is not None else None,
        job.custom_id,
        job.webhook_url,
        msgspec.json.encode(job.webhook_events).decode() if job.webhook_events is not None else None,
        draft.idempotency_key,
        draft.fingerprints[0] if draft.fingerprints else None,
        job.owner,
        job.most_tokens,
        job.caller,
        job.prefix or None,
        job.batch_id,
        job.batch_line,
        job.excerpt,
    )


def usage_row(job: Job) -> str | None:
    """Return the value of column `usage`."""
    return None if job.usage is None else msgspec.json.encode(job.usage).decode()


def moved_row(draft: Draft, job: Job) -> tuple[object, ...]:
    """Return the values of DRAFT and MOVED for a job that is not as it was made any more."""
    return (
        *draft_row(draft, job),
        job.attempt,
        job.fence,
        job.started_at,
        job.completed_at,
        job.expires_at,
        job.error,
        job.error_code,
        job.target,
        usage_row(job),
    )


@lru_cache(maxsize=256)
def insertion(table: str, columns: str, count: int, otherwise: str = "") -> str:
    """Return the statement that inserts so many rows; `otherwise` is an ON CONFLICT clause."""
    row = f"({', '.join('?' * (columns.count(',') + 1))})"
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * count)}{otherwise}"


_TIMES = (
    "created_at",
    "since",
    "ready_at",
    "start_by",
    "started_at",
    "completed_at",
    "expires_at",
    "at",
    "due_at",
    "ended_at",
)
_READ: dict[str, Callable[[Any], object]] = {
    "state": State,
    "previous": State,
    "delivery_state": DeliveryState,
    "priority": Priority,
    "drain_key": _check_key,
    "endpoint": _check_endpoint,
    "metadata": _decode_metadata,
    "usage": _decode_usage,
    "webhook_events": _decode_events,
    "webhook_url": receiver_of,
    "url": receiver_of,
    **dict.fromkeys(_TIMES, _check_time),
}
