"""The writes of engines that speak SQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import Artifact, CallerKey, Delivery, Draft, Instant, Job, JobEvent, LoadKey, Priority, State
from foreman.domain.scheduling.choose import Head
from foreman.domain.scheduling.prefixes import Neighbour
from foreman.domain.usage import HOUR, MINUTE, Depth, Figures, Slot
from foreman.store.records import NO_ARTIFACTS, Line, Remains
from foreman.store.sql.batches import BatchWrites, job_or_error
from foreman.store.sql.endpoints import EndpointWrites
from foreman.store.sql.files import FileWrites, is_large
from foreman.store.sql.reads import CLAIMABLE, IN_LINE, TO_CLAIM, SqlReader, is_line
from foreman.store.sql.recent import Recent
from foreman.store.sql.rows import (
    COLUMNS,
    DELIVERY,
    DRAFT,
    MOVED,
    OR_CHANGE_DELIVERY,
    delivery_row,
    draft_row,
    moved_row,
    read_job,
    usage_row,
)
from foreman.store.sql.search import SearchWrites
from foreman.store.sql.statements import Statements
from foreman.store.sql.usage import UsageWriter
from foreman.store.sql.usage import prune as prune_usage

LINE = "drain_key, priority, owner, caller"  # the key of a row of `lines`
OR_CHANGE_LINE = f" ON CONFLICT ({LINE}) DO UPDATE SET ready = excluded.ready, parked = excluded.parked"


class SqlWriter(FileWrites, BatchWrites, EndpointWrites, SearchWrites, SqlReader):
    """The writes of an engine that speaks SQL, within its transactions."""

    READABLE_ID: ClassVar[str]  # the condition of ids that are text; others must not block the jobs behind them

    def __init__(self, statements: Statements) -> None:
        SqlReader.__init__(self, statements)  # past the engine's reader, which makes its own
        self._usage = UsageWriter(statements)
        self._recent = Recent()
        self._unnamed = []

    @abstractmethod
    def _is_ours(self) -> bool:
        """Return True unless another program has written since the last transaction that asked."""

    @abstractmethod
    def _mark_pruned(self, seq: int) -> None:
        """Have `Seqs.pruned` cover the events up to a seq."""

    @abstractmethod
    def _remove(self, job_ids: Sequence[str]) -> None:
        """Delete jobs with all that belongs to them; no seq is given again."""

    def _forget(self) -> None:
        """Drop what is in memory of a transaction that was rolled back."""
        self._usage.forget()
        self._recent.clear()

    def with_payload(self, job_id: str) -> tuple[Job, bytes] | None:
        """Return a job and its payload, or None when there is none."""
        if job_id in self._recent and self._is_ours():
            return self._recent.get(job_id)
        sql = f"SELECT {COLUMNS}, body FROM jobs JOIN payloads ON job_id = id WHERE id = ?"
        rows = self._sql.rows(sql, (job_id,))
        return (read_job(rows[0]), rows[0][-1]) if rows else None

    def recent(self, job_id: str) -> Job | None:
        """Return a claimable job if it is in memory as the store has it, None otherwise."""
        return self._recent.get(job_id)[0] if job_id in self._recent and self._is_ours() else None

    def by_idempotency_key(self, owner: str, key: str) -> tuple[Job, bytes] | None:
        """Return the job of an owner's idempotency key and the fingerprint of its body, or None."""
        sql = f"SELECT {COLUMNS}, fingerprint FROM jobs WHERE owner = ? AND idempotency_key = ?"
        rows = self._sql.rows(sql, (owner, key))
        return (read_job(rows[0]), bytes(rows[0][-1] or b"")) if rows else None

    def lines(self) -> list[Line]:
        """Return the lines with their stored numbers of jobs."""
        rows = self._sql.rows("SELECT drain_key, priority, owner, caller, ready, parked FROM lines")
        return [
            Line(key=row[0], priority=Priority(row[1]), caller=(row[2], row[3]), ready=row[4], parked=row[5])
            for row in rows
            if is_line(*row[:4])
        ]

    def heads(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Head]:
        """Return up to `limit` of the oldest claimable jobs of a line, readable or not, the oldest first."""
        sql = f"""SELECT since, id FROM {TO_CLAIM} WHERE {CLAIMABLE} AND {IN_LINE} AND {self.READABLE_ID}
                  ORDER BY since, id LIMIT ?"""
        rows = self._sql.rows(sql, (key, priority, *caller, limit))
        return [Head(key, int(priority), since, id, caller) for since, id in rows]

    def neighbours(self, key: LoadKey, priority: int, caller: CallerKey, path: bytes) -> list[Neighbour]:
        """Return the claimable jobs of a line whose prefixes are next to a path, the oldest of each prefix."""
        # Two seeks each side: in one, the order by age would sort all jobs that have the prefix.
        alike = f"FROM jobs INDEXED BY jobs_by_prefix WHERE {CLAIMABLE} AND {IN_LINE}"
        line, found = (key, priority, *caller), []
        for side in ("<= ? ORDER BY prefix DESC", "> ? ORDER BY prefix"):
            prefix = self._sql.value(f"SELECT prefix {alike} AND prefix {side} LIMIT 1", (*line, path))
            if isinstance(prefix, bytes):
                oldest = f"SELECT since, id {alike} AND prefix = ? AND {self.READABLE_ID} ORDER BY since, id LIMIT 1"
                found += [Neighbour(prefix, since, id) for since, id in self._sql.rows(oldest, (*line, prefix))]
        return found

    def overdue(self, now: Instant, limit: int) -> list[Job | JobUnreadable]:
        """Return queued jobs past their `start_by`, or the error of an unreadable one."""
        sql = f"""SELECT {COLUMNS} FROM jobs INDEXED BY jobs_to_expire
                  WHERE state = 'queued' AND start_by <= ? ORDER BY start_by LIMIT ?"""
        return [job_or_error(row) for row in self._sql.rows(sql, (now, limit))]

    def next_due(self) -> Instant | None:
        """Return the time at which `wake` or `overdue` next finds a job."""
        due = self._sql.rows("""
            SELECT (SELECT ready_at FROM jobs INDEXED BY jobs_to_wake
                    WHERE state = 'queued' AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1),
                   (SELECT start_by FROM jobs INDEXED BY jobs_to_expire
                    WHERE state = 'queued' AND start_by IS NOT NULL ORDER BY start_by LIMIT 1)""")[0]
        return min((float(str(at)) for at in due if at is not None), default=None)

    def remains(self, job_id: str) -> Remains | None:
        """Return the readable parts of an unreadable job, or None unless it is queued."""
        sql = """SELECT drain_key, priority, owner, caller, ready_at IS NOT NULL, attempt, batch_id
                 FROM jobs
                 WHERE id = ? AND state = 'queued'"""
        for *line, parked, attempt, batch_id in self._sql.rows(sql, (job_id,)):
            valid = is_line(*line)
            return Remains((line[0], line[1], (line[2], line[3])) if valid else None, bool(parked), attempt, batch_id)
        return None

    def add(self, drafts: Sequence[Draft], jobs: Sequence[Job]) -> None:
        """Insert the jobs of the drafts, with their payloads and idempotency keys."""
        waiting, moved, queued = [], [], State.QUEUED
        for draft, job in zip(drafts, jobs, strict=True):
            if job.state is queued and not job.fence:
                waiting.append(draft_row(draft, job))
                if job.ready_at is None:
                    self._recent.add(job, draft.payload)
            else:
                moved.append(moved_row(draft, job))
        self._sql.insert("jobs", DRAFT, waiting)
        self._sql.insert("jobs", f"{DRAFT}, {MOVED}", moved)
        self._sql.insert("payloads", "job_id, body", [(draft.id, draft.payload) for draft in drafts])
        self._index_requests(drafts)

    def put(self, jobs: Sequence[Job], artifacts: Mapping[str, Sequence[Artifact]] = NO_ARTIFACTS) -> None:
        """Write what changes in the rows of jobs, in order, and add the artifacts by job."""
        for job in jobs:
            self._recent.drop(job.id)
        self._change(jobs)
        rows = [
            (job_id, n, a.name, a.content_type, len(a.data), a.data)
            for job_id, some in artifacts.items()
            for n, a in enumerate(some)
            if not is_large(a.data)
        ]
        self._sql.insert("artifacts", "job_id, position, name, content_type, size, data", rows)
        self._add_large(
            (job_id, n, a.name, a.content_type, a.data)
            for job_id, some in artifacts.items()
            for n, a in enumerate(some)
            if is_large(a.data)
        )
        self._index_answers(artifacts)

    def _change(self, jobs: Sequence[Job]) -> None:
        """Write what changes in the rows of jobs, in order."""
        self._sql.run_each(
            """UPDATE jobs SET state = ?, attempt = ?, max_attempts = ?, lease = ?, since = ?, ready_at = ?,
               start_by = ?, started_at = ?, completed_at = ?, expires_at = ?, error = ?, error_code = ?,
               webhook_url = ?, target = ?, gave_way = ?, usage = ? WHERE id = ?""",
            [
                (job.state, job.attempt, job.max_attempts, job.fence, job.since, job.ready_at, job.start_by,
                 job.started_at, job.completed_at, job.expires_at, job.error, job.error_code, job.webhook_url,
                 job.target, job.gave_way, usage_row(job), job.id)
                for job in jobs
            ],
        )  # fmt: skip

    def log(self, events: Sequence[JobEvent]) -> None:
        """Append events to the log."""
        if all(one.previous is None for one in events):
            first = [(one.seq, one.job_id, one.state, one.at, one.attempt) for one in events]
            self._sql.insert("events", "seq, job_id, state, at, attempt", first)
            return
        rows = [
            (one.seq, one.job_id, one.state, one.previous, one.at, one.attempt, one.error, one.target) for one in events
        ]
        self._sql.insert("events", "seq, job_id, state, previous, at, attempt, error, target", rows)

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries, new ones and changed ones."""
        self._sql.insert("deliveries", DELIVERY, [delivery_row(one) for one in deliveries], OR_CHANGE_DELIVERY)

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Write the numbers of jobs of these lines; empty lines are removed."""
        rows = [
            (one.key, int(one.priority), *one.caller, one.ready, one.parked) for one in lines if one.ready or one.parked
        ]
        self._sql.insert("lines", f"{LINE}, ready, parked", rows, OR_CHANGE_LINE)
        for one in lines:
            if not (one.ready or one.parked):
                self._sql.run(f"DELETE FROM lines WHERE {IN_LINE}", (one.key, one.priority, *one.caller))

    def wake(self, now: Instant) -> list[Head]:
        """Make the queued jobs whose time has come claimable, and return them."""
        due = "jobs INDEXED BY jobs_to_wake"
        when = "WHERE state = 'queued' AND ready_at <= ?"
        woken = self._sql.rows(f"SELECT drain_key, priority, owner, caller, since, id FROM {due} {when}", (now,))
        if woken:
            self._sql.run(f"UPDATE {due} SET ready_at = NULL {when}", (now,))
        return [
            Head(row[0], row[1], row[4], row[5], (row[2], row[3]))
            for row in woken
            if is_line(*row[:4]) and type(row[5]) is str
        ]

    def set_aside(self, job_id: str, *, now: Instant, expires_at: Instant | None, error: str, code: str) -> None:
        """Write an unreadable job as failed."""
        self._recent.drop(job_id)
        self._sql.run(
            """UPDATE jobs SET state = 'failed', ready_at = NULL, completed_at = ?, expires_at = ?, error = ?,
               error_code = ? WHERE id = ?""",
            (now, expires_at, error, code, job_id),
        )

    def delete(self, job_ids: Sequence[str]) -> None:
        """Delete ended jobs with all that belongs to them."""
        self._unindex(job_ids)
        self._remove(job_ids)

    def prune(self, now: Instant, limit: int) -> list[str]:
        """Delete up to `limit` expired jobs with all that belongs to them, and return their ids."""
        sql = "SELECT id FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        expired = [job_id for (job_id,) in self._sql.rows(sql, (now, limit)) if type(job_id) is str]
        if expired:
            self._prune(expired)
        return expired

    def _prune(self, job_ids: Sequence[str]) -> None:
        marks = ", ".join("?" * len(job_ids))
        newest = self._sql.value(f"SELECT max(seq) FROM events WHERE job_id IN ({marks})", tuple(job_ids))
        self._mark_pruned(int(str(newest or 0)))
        self._unindex(job_ids)
        self._remove(job_ids)

    def add_usage(self, figures: Mapping[Slot, Figures], depths: Sequence[Depth]) -> None:
        """Add the figures to the stored ones, and raise the stored depths to these."""
        self._usage.write(figures, depths)

    def prune_usage(self, *, minutes: int, hours: int) -> None:
        """Delete a bounded number of old usage figures."""
        prune_usage(self._sql, MINUTE, minutes)
        prune_usage(self._sql, HOUR, hours)

    def set_note(self, name: str, value: str) -> None:
        """Set the value of a note."""
        self._sql.run(
            "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )
