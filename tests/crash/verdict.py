"""What the database must look like after a campaign."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from foreman.job import STEPS, State


@dataclass(slots=True)
class Verdict:
    lost: int = 0  # acknowledged jobs that are not there, or are not done
    doubled: int = 0  # jobs done more than once, or stored more than once
    illegal: int = 0  # faults of the event log and of the database
    unacknowledged: int = 0  # jobs whose 202 never arrived; they may be there
    interrupted: int = 0  # attempts that a kill ended
    events: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.illegal)


def judge(database: Path, tried: Collection[str], acknowledged: Mapping[str, str]) -> Verdict:
    """Hold the database against what was submitted: `tried` custom ids, and job id to custom id for each 202."""
    found = Verdict()
    with closing(sqlite3.connect(database)) as db:
        _judge_jobs(db, tried, acknowledged, found)
        _judge_events(db, found)
        _judge_file(db, found)
    return found


def _judge_jobs(
    db: sqlite3.Connection, tried: Collection[str], acknowledged: Mapping[str, str], found: Verdict
) -> None:
    jobs = {
        job_id: (state, custom_id) for job_id, state, custom_id in db.execute("SELECT id, state, custom_id FROM jobs")
    }
    for job_id, custom_id in acknowledged.items():
        if jobs.get(job_id) != ("done", custom_id):
            found.lost += 1
            found.complaints.append(f"{custom_id} was acknowledged as {job_id} and is {jobs.get(job_id)}")
    stored = Counter(custom_id for _, custom_id in jobs.values())
    for custom_id, times in stored.items():
        if times > 1:
            found.doubled += 1
            found.complaints.append(f"{custom_id} is stored {times} times")
        if custom_id not in tried:
            found.illegal += 1
            found.complaints.append(f"{custom_id} was never submitted")
    found.unacknowledged = len(jobs.keys() - acknowledged.keys())
    done = db.execute("SELECT job_id, count(*) FROM events WHERE state = 'done' GROUP BY job_id").fetchall()
    for job_id, times in done:
        if times > 1:
            found.doubled += 1
            found.complaints.append(f"{job_id} was done {times} times")
    for job_id in jobs.keys() - {job_id for job_id, _ in done}:
        found.lost += 1
        found.complaints.append(f"{job_id} was never done")


def _judge_events(db: sqlite3.Connection, found: Verdict) -> None:
    last: dict[str, str] = {}
    expected = 1
    for seq, job_id, state, previous in db.execute("SELECT seq, job_id, state, previous FROM events ORDER BY seq"):
        if seq != expected:
            found.illegal += 1
            found.complaints.append(f"event {seq} follows event {expected - 1}")
        expected = seq + 1
        legal = state in STEPS[State(previous)] if previous else state == "queued" and job_id not in last
        if previous != last.get(job_id) or not legal:
            found.illegal += 1
            found.complaints.append(f"event {seq} takes {job_id} from {last.get(job_id)} ({previous}) to {state}")
        last[job_id] = state
        found.events += 1
        found.interrupted += bool(previous) and state == "queued"
    for job_id, state in db.execute("SELECT id, state FROM jobs").fetchall():
        if last.get(job_id) != state:
            found.illegal += 1
            found.complaints.append(f"{job_id} is {state}, its last event says {last.get(job_id)}")


def _judge_file(db: sqlite3.Connection, found: Verdict) -> None:
    checks = {
        "integrity_check": [row for row in db.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"],
        "foreign_key_check": db.execute("PRAGMA foreign_key_check").fetchall(),
        "lanes left": db.execute("SELECT * FROM lanes WHERE ready <> 0 OR parked <> 0").fetchall(),
        "done without completion": db.execute(
            "SELECT id FROM jobs WHERE state = 'done' AND id NOT IN (SELECT job_id FROM artifacts)"
        ).fetchall(),
    }
    for name, rows in checks.items():
        if rows:
            found.illegal += len(rows)
            found.complaints.append(f"{name}: {rows[:3]}")
