"""What a node asks for to learn what others have committed."""

from __future__ import annotations

from typing import NamedTuple

from foreman.domain.job import Priority
from foreman.domain.scheduling.choose import Head
from foreman.store.postgres.connection import Statement
from foreman.store.postgres.nodes import NODES
from foreman.store.records import PAUSED, Line
from foreman.store.sql.reads import CLAIMABLE, EVENTS
from foreman.store.sql.rows import COLUMNS
from foreman.store.sql.writes import LINE


class State(NamedTuple):
    """The row of `fleet_state`."""

    commits: int
    seq: int
    posts: int
    told: int
    coordinator: str
    full_text: str  # how far the index of words is


_ALIKE = " AND ".join(f"{column} = l.{column}" for column in LINE.split(", "))
_EVENTS = f"{EVENTS} WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq"
# Of most jobs that wait, nobody needs more than the numbers of their lines. OFFSET 0 has each looked up by its id: the
# planner would read all that are in a state instead, as long as it believes that there are few.
_JOBS = f"""SELECT j.* FROM (SELECT DISTINCT job_id FROM events WHERE seq > ? AND seq <= ?) AS e
    CROSS JOIN LATERAL (SELECT {COLUMNS} FROM jobs WHERE id = e.job_id OFFSET 0) AS j
    WHERE j.state IN ('loading', 'working')
    OR j.state = 'queued' AND (j.target IS NOT NULL OR j.ready_at IS NOT NULL OR j.start_by IS NOT NULL)"""
_LINES = f"""SELECT {", ".join(f"l.{column}" for column in LINE.split(", "))}, ready, parked, since, id
    FROM lines l LEFT JOIN LATERAL (SELECT since, id FROM jobs WHERE {CLAIMABLE} AND {_ALIKE}
                                    ORDER BY since, id LIMIT 1) AS head ON true
    WHERE l.version > ?"""
_PAUSED = "SELECT value FROM notes WHERE name = ?"
_NODES = f"SELECT told.* FROM ({NODES[0]}) AS told WHERE ? <> (SELECT told FROM fleet_state) ORDER BY name"


def queries(seen: State, newest: int) -> list[Statement]:
    """Return what is asked for after a state, with events up to a seq."""
    since = seen.seq, newest
    return [
        (_EVENTS, since),
        (_JOBS, since),
        (_LINES, (seen.commits,)),
        (_PAUSED, (PAUSED,)),
        (_NODES, (seen.told,)),
    ]


def read_line(row: tuple[str, int, str, str, int, int, float | None, str | None]) -> tuple[Line, Head | None]:
    """Return a row of lines with its oldest claimable job."""
    key, priority, owner, caller, ready, parked, since, job_id = row
    line = Line(key=key, priority=Priority(priority), caller=(owner, caller), ready=ready, parked=parked)
    if since is None or job_id is None:
        return line, None
    return line, Head(key, priority, since, job_id, (owner, caller))
