"""What was promised in a storm, and whether it was kept."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreman.domain.job import TERMINAL, TRANSITIONS, State
from tests.support.foreman import ROOT

SHOWN = 20  # complaints


@dataclass(slots=True)
class Witness:
    """Outlives every Foreman of a storm."""

    acknowledged: list[str] = field(default_factory=list)  # ids of jobs
    deleted: set[str] = field(default_factory=set)  # asked to be
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # the jobs that a key stands for
    answers: Counter[str] = field(default_factory=Counter)  # by status and code
    complaints: list[str] = field(default_factory=list)

    def accept(self, job_id: str, key: str | None = None) -> None:
        self.acknowledged.append(job_id)
        if key:
            self.keys[key].add(job_id)

    def answered(self, request: str, status: int, body: bytes) -> None:
        """Note an answer; one that Foreman itself calls a bug is a complaint."""
        try:
            said = json.loads(body)
            code = str(said.get("code", "")) if isinstance(said, dict) else ""
        except ValueError:
            code = ""
        self.answers[f"{status} {code}".strip()] += 1
        if b"internal error" in body:
            self.complaints.append(f"{request} was answered {status}: {body[:200]!r}")

    def judge(self, data_dir: Path) -> list[str]:
        """Return what was not kept, once Foreman has left."""
        found = [*self.complaints, *_checked(data_dir)]
        with closing(sqlite3.connect(data_dir / "foreman.db")) as db:
            found += self._jobs(db)
            found += _events(db)
        found += [f"{key} stands for {jobs}" for key, jobs in self.keys.items() if len(jobs - self.deleted) > 1]
        return found[:SHOWN]

    def _jobs(self, db: sqlite3.Connection) -> list[str]:
        jobs = {job_id: (state, code) for job_id, state, code in db.execute("SELECT id, state, error_code FROM jobs")}
        lost = [f"{job_id} was lost" for job_id in {*self.acknowledged} - jobs.keys() - self.deleted]
        open_ = [f"{job_id} is {state}" for job_id, (state, _) in jobs.items() if State(state) not in TERMINAL]
        bugs = [f"{job_id} failed by a bug" for job_id, (_, code) in jobs.items() if code == "internal_error"]
        lines = [f"line left: {row}" for row in db.execute("SELECT * FROM lines WHERE ready <> 0 OR parked <> 0")]
        due = [f"not sent: {row}" for row in db.execute("SELECT seq, url FROM deliveries WHERE state = 'due'")]
        twice = db.execute(
            "SELECT idempotency_key FROM jobs WHERE idempotency_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
        )
        return [*lost, *open_, *bugs, *lines, *due, *(f"{key} is stored twice" for (key,) in twice)]


def _events(db: sqlite3.Connection) -> list[str]:
    """Return the events that take a job where none may go, and jobs that are not where their last event took them."""
    last: dict[str, str] = {}
    found: list[str] = []
    for seq, job_id, state, previous in db.execute("SELECT seq, job_id, state, previous FROM events ORDER BY seq"):
        legal = state in TRANSITIONS[State(previous)] if previous else state == "queued"
        if not legal or (previous or None) != last.get(job_id):
            found.append(f"event {seq} takes {job_id} from {last.get(job_id)} ({previous}) to {state}")
        last[job_id] = state
    now = db.execute("SELECT id, state FROM jobs").fetchall()
    return found + [f"{job_id} is {state}, not {last.get(job_id)}" for job_id, state in now if last[job_id] != state]


def _checked(data_dir: Path) -> list[Any]:
    command = [sys.executable, "-m", "foreman", "check", "--json", "--data-dir", str(data_dir)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    problems = json.loads(ran.stdout)["problems"] if ran.stdout else [ran.stderr]
    return list(problems)
