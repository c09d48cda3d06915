"""The questions of an integrity check that engines share, and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import Priority
from foreman.store.sql.reads import EVENTS
from foreman.store.sql.rows import COLUMNS, DELIVERY, read_delivery, read_event, read_job

SOME = 5  # problems of one kind reported


class Report(msgspec.Struct, frozen=True):
    """The report of an integrity check."""

    database: str
    schema: int
    newest_schema: int  # known to this program
    jobs: dict[str, int]  # by state
    events: int
    problems: list[str]


CONTRADICTIONS = {
    "job {} has no payload": "SELECT id FROM jobs WHERE NOT EXISTS (SELECT 1 FROM payloads WHERE job_id = id)",
    "job {} is done and has no answer": (
        "SELECT id FROM jobs WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM artifacts WHERE job_id = id)"
    ),
    "job {} is not in the state that its last event says": """
        SELECT id FROM jobs j
        WHERE coalesce(state <> (SELECT state FROM events WHERE job_id = j.id ORDER BY seq DESC LIMIT 1), true)""",
    "batch {} does not have the jobs that it counts": """
        SELECT id FROM (
            SELECT b.id, b.fed, b.completed, b.failed, b.cancelled + b.expired AS others,
                   CASE WHEN b.ended_at IS NULL THEN 0 ELSE coalesce(b.total, 0) - b.fed END AS unfed,
                   count(j.id) AS jobs,
                   count(CASE WHEN j.state = 'done' THEN 1 END) AS done,
                   count(CASE WHEN j.state = 'failed' THEN 1 END) AS lost,
                   count(CASE WHEN j.state IN ('cancelled', 'expired') THEN 1 END) AS left_out
            FROM batches b LEFT JOIN jobs j ON j.batch_id = b.id
            WHERE coalesce(b.expires_at, 1) <> 0 GROUP BY b.id) AS counted
        WHERE jobs <> fed OR done <> completed OR lost + left_out + unfed <> failed + others""",
    "the count of waiting jobs of {} is wrong": """
        SELECT drain_key FROM (
            SELECT drain_key, priority, owner, caller, CASE WHEN ready_at IS NULL THEN 1 ELSE 0 END AS free,
                   count(*) AS n
            FROM jobs WHERE state = 'queued' GROUP BY 1, 2, 3, 4, 5
            UNION ALL SELECT drain_key, priority, owner, caller, 1, -ready FROM lines
            UNION ALL SELECT drain_key, priority, owner, caller, 0, -parked FROM lines) AS counted
        GROUP BY drain_key, priority, owner, caller, free HAVING sum(n) <> 0""",
}

ROWS: dict[str, tuple[str, Callable[[tuple[Any, ...]], object]]] = {
    "jobs": (f"SELECT {COLUMNS} FROM jobs", read_job),
    "events": (EVENTS, read_event),
    "deliveries": (f"SELECT {DELIVERY} FROM deliveries", read_delivery),
}
ODD_LINES = f"""
    SELECT drain_key, priority FROM lines
    WHERE priority NOT IN ({", ".join(str(int(one)) for one in Priority)}) OR ready < 0 OR parked < 0
"""


def unreadable(table: str, rows: Iterable[tuple[Any, ...]], read: Callable[[tuple[Any, ...]], object]) -> list[str]:
    """Read every row as the program does; return the unreadable ones with their remedy."""
    found, count = [], 0
    for row in rows:
        try:
            read(row)
        except JobUnreadable as error:
            count += 1
            if count <= SOME:
                found.append(f"{error}; remove it with foreman rm {error.job_id}, or restore a backup")
    if count > SOME:
        found.append(f"{count - SOME} more rows of {table} cannot be read")
    return found


def odd_lines(rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the problems of rows of ODD_LINES."""
    return [f"the count of waiting jobs of {key!r} with priority {priority} is odd" for key, priority in rows]
