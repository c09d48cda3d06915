"""What the database must look like after a round, and what the receiver must have been told."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from foreman.domain.job import TRANSITIONS, State
from tests.crash.servers import Server
from tests.support.receiver import Got

SHOWN = 20  # complaints


@dataclass(slots=True)
class StaticAnswer:
    """What the outside knows: the truth that the database is held against."""

    tried: set[str] = field(default_factory=set)  # custom ids, answered or not
    acknowledged: dict[str, str] = field(default_factory=dict)  # job id to custom id, for each 202
    again: dict[str, bytes] = field(default_factory=dict)  # requests by custom id, unanswered, that may be sent again
    unanswered: int = 0  # submissions
    retired: dict[str, dict[int, str]] = field(default_factory=dict)  # jobs to be pruned: their events by seq


@dataclass(slots=True)
class Verdict:
    lost: int = 0  # acknowledged jobs that are not there, or are not done; events that no webhook told
    doubled: int = 0  # jobs done more than once, or stored more than once
    gaps: int = 0  # places where the log, or a feed, lacks events
    illegal: int = 0  # steps that a job cannot take; faults of the database, of webhooks and of exit codes
    unacknowledged: int = 0  # jobs whose 202 never arrived; they may be there
    interrupted: int = 0  # attempts that a kill ended
    events: int = 0
    pruned: int = 0  # jobs
    delivered: int = 0  # webhooks that arrived
    repeated: int = 0  # of them, those whose event had been told before
    ran: Counter[str] = field(default_factory=Counter)  # jobs that are done, by target
    complaints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.gaps or self.illegal)

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.doubled} doubled, {self.gaps} gaps, {self.illegal} illegal"

    def complain(self, kind: str, words: str) -> None:
        """Count a fault: `kind` is lost, doubled, gaps or illegal."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.complaints) < SHOWN:
            self.complaints.append(f"{kind}: {words}")

    def __iadd__(self, other: Verdict) -> Verdict:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self


def judge(database: Path, told: StaticAnswer, got: Sequence[Got], targets: Sequence[Server]) -> Verdict:
    """Hold the database against what was submitted, and what the receiver got against the database."""
    found = Verdict()
    with closing(sqlite3.connect(database)) as db:
        _judge_jobs(db, told, found)
        _judge_targets(db, targets, found)
        judge_events(db, told, found)
        judge_webhooks(db, told, got, found)
        judge_usage(db, told, found)
        _judge_file(db, found)
    return found


def _judge_jobs(db: sqlite3.Connection, told: StaticAnswer, found: Verdict) -> None:
    jobs = {
        job_id: (state, custom_id) for job_id, state, custom_id in db.execute("SELECT id, state, custom_id FROM jobs")
    }
    for job_id, custom_id in told.acknowledged.items():
        if job_id not in told.retired and jobs.get(job_id) != ("done", custom_id):
            found.complain("lost", f"{custom_id} was acknowledged as {job_id} and is {jobs.get(job_id)}")
    for job_id in jobs.keys() & told.retired.keys():
        found.complain("illegal", f"{job_id} is past its time and was not pruned")
    found.pruned = len(told.retired)
    stored = Counter(custom_id for _, custom_id in jobs.values())
    stored.update(custom_id for job_id, custom_id in told.acknowledged.items() if job_id in told.retired)
    for custom_id, times in stored.items():
        if times > 1:
            found.complain("doubled", f"{custom_id} is stored {times} times")
        if custom_id not in told.tried:
            found.complain("illegal", f"{custom_id} was never submitted")
    found.unacknowledged = len(jobs.keys() - told.acknowledged.keys())
    done = db.execute("SELECT job_id, count(*) FROM events WHERE state = 'done' GROUP BY job_id").fetchall()
    for job_id, times in done:
        if times > 1:
            found.complain("doubled", f"{job_id} was done {times} times")
    for job_id in jobs.keys() - {job_id for job_id, _ in done}:
        found.complain("lost", f"{job_id} was never done")


def _judge_targets(db: sqlite3.Connection, targets: Sequence[Server], found: Verdict) -> None:
    """A job was done by a target that has its model."""
    models = {target.name: target.models for target in targets}
    for job_id, model, target in db.execute("SELECT id, model, target FROM jobs WHERE state = 'done'").fetchall():
        found.ran[target] += 1
        if model not in models.get(target, ()):
            found.complain("illegal", f"{job_id} for {model} was done by {target}")


def judge_events(db: Any, told: StaticAnswer, found: Verdict) -> None:
    pruned = {seq for events in told.retired.values() for seq in events}
    last: dict[str, str] = {}
    expected = 1
    for seq, job_id, state, previous in db.execute("SELECT seq, job_id, state, previous FROM events ORDER BY seq"):
        while expected in pruned:
            expected += 1
        if seq != expected:
            found.complain("gaps", f"event {seq} comes instead of event {expected}")
        expected = seq + 1
        legal = state in TRANSITIONS[State(previous)] if previous else state == "queued" and job_id not in last
        if previous != last.get(job_id) or not legal:
            found.complain("illegal", f"event {seq} takes {job_id} from {last.get(job_id)} ({previous}) to {state}")
        last[job_id] = state
        found.events += 1
        found.interrupted += bool(previous) and state == "queued"
    for job_id, state in db.execute("SELECT id, state FROM jobs").fetchall():
        if last.get(job_id) != state:
            found.complain("illegal", f"{job_id} is {state}, its last event says {last.get(job_id)}")


def judge_webhooks(db: Any, told: StaticAnswer, got: Sequence[Got], found: Verdict) -> None:
    """Each event has arrived at least once, under one id; and nothing was told that is not so."""
    expected = {
        f"msg_{job_id}_{seq}": (job_id, seq, state)
        for seq, job_id, state in db.execute(
            "SELECT seq, job_id, state FROM events WHERE job_id IN (SELECT id FROM jobs WHERE webhook_url IS NOT NULL)"
        ).fetchall()
        + [(seq, job_id, state) for job_id, events in told.retired.items() for seq, state in events.items()]
    }
    arrived = Counter(one.id for one in got)
    for one in got:
        if expected.get(one.id) != (one.payload["job_id"], one.seq, one.state):
            found.complain("illegal", f"webhook {one.id} told of {one.state}, stored is {expected.get(one.id)}")
    for message in expected.keys() - arrived.keys():
        found.complain("lost", f"webhook {message} never arrived")
    for seq, state in db.execute("SELECT seq, state FROM deliveries WHERE state <> 'delivered'").fetchall():
        found.complain("lost", f"the delivery of event {seq} is {state}")
    found.delivered = arrived.total()
    found.repeated = arrived.total() - len(arrived)


def judge_usage(db: Any, told: StaticAnswer, found: Verdict) -> None:
    """Every job and every end is counted once, in minutes as in hours."""
    happened = Counter(state for (state,) in db.execute("SELECT state FROM events WHERE state <> 'queued'"))
    happened.update(state for events in told.retired.values() for state in events.values() if state != "queued")
    made = {job_id for (job_id,) in db.execute("SELECT id FROM jobs")} | told.retired.keys()
    expected = (len(made), *(happened[state] for state in ("done", "failed", "cancelled", "expired")))
    for step, *counted in db.execute(
        """SELECT step, sum(submitted), sum(done), sum(failed), sum(cancelled), sum(expired) FROM usage
           GROUP BY step"""
    ).fetchall():
        if tuple(counted) != expected:
            found.complain("illegal", f"usage in steps of {step} s is {counted}, the events say {expected}")


def _judge_file(db: sqlite3.Connection, found: Verdict) -> None:
    checks = {
        "integrity_check": [row for row in db.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"],
        "foreign_key_check": db.execute("PRAGMA foreign_key_check").fetchall(),
        "lines left": db.execute("SELECT * FROM lines WHERE ready <> 0 OR parked <> 0").fetchall(),
        "done without completion": db.execute(
            "SELECT id FROM jobs WHERE state = 'done' AND id NOT IN (SELECT job_id FROM artifacts)"
        ).fetchall(),
    }
    for name, rows in checks.items():
        for row in rows:
            found.complain("illegal", f"{name}: {row}")
