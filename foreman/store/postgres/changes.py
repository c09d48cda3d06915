"""The statement that writes what changes in the rows of jobs, however many."""

from __future__ import annotations

from collections.abc import Sequence

from foreman.domain.job import Job
from foreman.store.sql.rows import usage_row

_COLUMNS = {
    "id": "text",
    "state": "text",
    "attempt": "integer",
    "max_attempts": "integer",
    "lease": "integer",
    "since": "double precision",
    "ready_at": "double precision",
    "start_by": "double precision",
    "started_at": "double precision",
    "completed_at": "double precision",
    "expires_at": "double precision",
    "error": "text",
    "error_code": "text",
    "webhook_url": "text",
    "target": "text",
    "gave_way": "integer",
    "usage": "text",
}

CHANGE = f"""
    UPDATE jobs SET {", ".join(f"{column} = new.{column}" for column in _COLUMNS if column != "id")}
    FROM unnest({", ".join(f"CAST(? AS {type}[])" for type in _COLUMNS.values())}) AS new ({", ".join(_COLUMNS)})
    WHERE jobs.id = new.id"""


def columns_of(jobs: Sequence[Job]) -> list[list[object]]:
    """Return the values of CHANGE. Of a job that is given more than once, the last state counts."""
    latest = {job.id: job for job in jobs}
    return [list(column) for column in zip(*map(_row, latest.values()), strict=True)]


def _row(job: Job) -> tuple[object, ...]:
    times = (job.since, job.ready_at, job.start_by, job.started_at, job.completed_at, job.expires_at)
    return (
        job.id, job.state.value, job.attempt, job.max_attempts, job.fence,
        *(at if at is None else float(at) for at in times),
        job.error, job.error_code, job.webhook_url, job.target, job.gave_way,
        usage_row(job),
    )  # fmt: skip
