"""The SQLite store's single writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import RUNNING, Artifact, Delivery, Draft, Instant, Job, JobEvent, State
from foreman.domain.scheduling.choose import Head
from foreman.domain.usage import HOUR, MINUTE, NO_TOKENS, Tally, Tokens
from foreman.store.protocol import Lane
from foreman.store.sqlite.board import Board
from foreman.store.sqlite.database import Database
from foreman.store.sqlite.reads import CLAIMABLE, PRUNED, TO_CLAIM, SqliteReader, is_lane
from foreman.store.sqlite.rows import COLUMNS, DRAFT, draft_row, insert, read_job, receiver_of
from foreman.store.sqlite.usage import UsageWriter
from foreman.store.sqlite.usage import prune as prune_usage


class SqliteWriter(SqliteReader):
    """The single writer. `target` is the target's name in the usage figures. Raises StoreRefused."""

    def __init__(self, path: Path, *, target: str = "") -> None:
        self._database = Database(path)
        self.path = path
        super().__init__(self._database.connection, Board())
        self._waiting: Counter[tuple[str, int, str, bool]] = Counter()  # changes of `lanes` not yet written
        self._usage = UsageWriter(self._db)
        self._touched: set[tuple[str, int]] = set()  # lanes whose board entry may be ahead of the disk
        lanes = self._rows("SELECT drain_key, priority FROM lanes")
        self._touched.update((key, priority) for key, priority in lanes if is_lane(key, priority))
        self._restore_board()
        self._tally = Tally(target, waiting=self._board.waiting)

    def reader(self) -> SqliteReader:
        """Return a reader with a connection of its own, which is closed with the store."""
        return SqliteReader(self._database.lend(), self._board)

    def close(self) -> None:
        """Close all connections and free the lock of the data folder."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run all writes inside in one transaction."""
        try:
            with self._database.transaction():
                self._restore_board()
                yield
                self._write_lanes()
                self._usage.write(self._tally.figures, self._tally.depths())
        except BaseException:
            self._waiting.clear()
            self._tally.forget()
            self._usage.forget()
            raise
        self._touched.clear()
        self._tally.commit()

    def lanes(self) -> list[Lane]:
        """Return the lanes with their numbers of jobs."""
        self._write_lanes()
        return super().lanes()

    def board(self) -> Board:
        """Return the lanes in memory."""
        self._write_lanes()
        return self._board

    def add(self, drafts: Sequence[Draft], *, now: Instant) -> list[JobEvent]:
        """Insert queued jobs, each with its first event."""
        if not drafts:
            return []
        insert(self._db, "jobs", DRAFT, [draft_row(draft, now) for draft in drafts])
        insert(self._db, "payloads", "job_id, body", [(draft.id, draft.payload) for draft in drafts])
        rows = [(draft.id, "queued", now, 0) for draft in drafts]
        last = insert(self._db, "events", "job_id, state, at, attempt", rows)
        events: list[JobEvent] = []
        posted: list[tuple[JobEvent, str, str]] = []
        for seq, draft in enumerate(drafts, start=last - len(drafts) + 1):
            parked = draft.not_before is not None and draft.not_before > now
            self._waiting[draft.key, draft.priority, draft.model, parked] += 1
            self._tally.submitted(draft, now)
            event = JobEvent(
                seq=seq,
                job_id=draft.id,
                state=State.QUEUED,
                previous=None,
                at=now,
                model=draft.model,
                attempt=0,
                custom_id=draft.custom_id,
                owner=draft.owner,
            )
            if _wanted(State.QUEUED, draft.webhook_url, draft.webhook_events):
                event = replace(event, posted=True)
                posted.append((event, draft.webhook_url or "", draft.owner))
            events.append(event)
        self._post(posted)
        return events

    def put(self, job: Job, *, previous: State, now: Instant) -> JobEvent:
        """Write a job after a transition, and its event."""
        first = self._write(job, previous)
        self._tally.changed(job, previous, now, first=first)
        return self._log(job, [(job.state, previous)], now)[0]

    def begin(self, job: Job, *, now: Instant) -> list[JobEvent]:
        """Write a job that went from queued to working, and both events."""
        first = self._write(job, State.QUEUED)
        self._tally.changed(job, State.QUEUED, now, first=first)
        return self._log(job, [(State.LOADING, State.QUEUED), (State.WORKING, State.LOADING)], now)

    def _write(self, job: Job, previous: State) -> bool:
        """Write the job; return True when it starts for the first time."""
        first = False
        if previous is State.QUEUED:
            # A claim has read the job in this transaction. Other jobs may have been woken since they were read.
            parked: object = job.ready_at is not None
            if job.state in RUNNING:
                first = self._value("SELECT started_at FROM jobs WHERE id = ?", (job.id,)) is None
            else:
                parked = self._value("SELECT ready_at IS NOT NULL FROM jobs WHERE id = ?", (job.id,))
            self._waiting[job.key, job.priority, job.model, bool(parked)] -= 1
        if job.state is State.QUEUED:
            self._waiting[job.key, job.priority, job.model, job.ready_at is not None] += 1
        self._db.execute(
            """UPDATE jobs SET state = ?, attempt = ?, max_attempts = ?, lease = ?, since = ?, ready_at = ?,
               start_by = ?, started_at = ?, completed_at = ?, expires_at = ?, error = ?, error_code = ?
               WHERE id = ?""",
            (job.state, job.attempt, job.max_attempts, job.fence, job.since, job.ready_at, job.start_by,
             job.started_at, job.completed_at, job.expires_at, job.error, job.error_code, job.id),
        )  # fmt: skip
        return first

    def _log(self, job: Job, transitions: Sequence[tuple[State, State]], now: Instant) -> list[JobEvent]:
        """Write and return the events of transitions, each given as a state and the previous one."""
        rows = [(job.id, state, previous, now, job.attempt, job.error) for state, previous in transitions]
        last = insert(self._db, "events", "job_id, state, previous, at, attempt, error", rows)
        events = [
            JobEvent(
                seq=last - len(transitions) + number,
                job_id=job.id,
                state=state,
                previous=previous,
                at=now,
                model=job.model,
                attempt=job.attempt,
                error=job.error,
                custom_id=job.custom_id,
                owner=job.owner,
                posted=_wanted(state, job.webhook_url, job.webhook_events),
            )
            for number, (state, previous) in enumerate(transitions, start=1)
        ]
        self._post([(event, job.webhook_url or "", job.owner) for event in events if event.posted])
        return events

    def keep(self, job_id: str, artifacts: Iterable[Artifact]) -> None:
        """Store the artifacts of a job that is done."""
        self._db.executemany(
            "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?)",
            [(job_id, n, a.name, a.content_type, len(a.data), a.data) for n, a in enumerate(artifacts)],
        )

    def used(self, job: Job, *, tokens: Tokens = NO_TOKENS, loads: int = 0, now: Instant) -> None:
        """Count the tokens and loads of an attempt."""
        self._tally.used(job, now, tokens=tokens, loads=loads)

    def sample(self, now: Instant) -> None:
        """Count the running jobs of this minute."""
        self._tally.sample(now)

    def prune_usage(self, *, minutes: int, hours: int) -> None:
        """Delete a bounded number of old usage figures."""
        prune_usage(self._db, MINUTE, minutes)
        prune_usage(self._db, HOUR, hours)

    def settle(self, delivery: Delivery) -> None:
        """Write the outcome of an attempt to deliver."""
        self._db.execute(
            """UPDATE deliveries SET state = ?, attempts = ?, due_at = ?, status = ?, error = ?, ended_at = ?
               WHERE seq = ?""",
            (
                delivery.state,
                delivery.attempts,
                delivery.due_at,
                delivery.status,
                delivery.error,
                delivery.ended_at,
                delivery.seq,
            ),
        )

    def stop_deliveries(self, job_id: str, *, now: Instant) -> None:
        """Stop all present and future deliveries of a job."""
        self._db.execute("UPDATE jobs SET webhook_url = NULL WHERE id = ?", (job_id,))
        self._db.execute(
            "UPDATE deliveries SET state = 'stopped', ended_at = ? WHERE job_id = ? AND state = 'due'", (now, job_id)
        )

    def delete(self, job_ids: Sequence[str]) -> None:
        """Delete ended jobs with all that belongs to them."""
        self._remove(job_ids)

    def _remove(self, job_ids: Sequence[str]) -> None:
        self._db.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in job_ids])

    def prune(self, now: Instant, limit: int) -> list[str]:
        """Delete up to `limit` expired jobs with all that belongs to them, and return their ids."""
        sql = "SELECT id FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        expired = [job_id for (job_id,) in self._rows(sql, (now, limit)) if type(job_id) is str]
        if expired:
            marks = ", ".join("?" * len(expired))
            newest = self._value(f"SELECT max(seq) FROM events WHERE job_id IN ({marks})", tuple(expired))
            self.set_note(PRUNED, str(max(self.seqs().pruned, int(str(newest or 0)))))
            self._remove(expired)
        return expired

    def set_aside(self, error: JobUnreadable, *, now: Instant, expires_at: Instant | None) -> JobEvent | None:
        """Fail an unreadable job if it is queued, and return the event."""
        self._write_lanes()
        sql = "SELECT drain_key, priority, ready_at IS NOT NULL, attempt FROM jobs WHERE id = ? AND state = 'queued'"
        row = next(iter(self._rows(sql, (error.job_id,))), None)
        event = self._fail(error, row[3], now, expires_at) if row else None
        # It was counted in the board's lane, which its corrupt row may not name any more.
        if head := next((head for head in self._board.heads() if head.id == error.job_id), None):
            self._take_off(error.job_id, head.key, head.priority, "ready", now)
        elif row and is_lane(row[0], row[1]):
            self._take_off(error.job_id, row[0], row[1], "parked" if row[2] else "ready", now)
        return event

    def _take_off(self, job_id: str, key: str, priority: int, column: str, now: Instant) -> None:
        """Remove a job from its lane's count and make the next job the head."""
        counted = self._db.execute(
            f"""UPDATE lanes SET {column} = {column} - 1 WHERE {column} > 0 AND drain_key = ? AND priority = ?
                AND model = (SELECT model FROM jobs WHERE id = ?)""",
            (key, priority, job_id),
        ).rowcount
        self._db.execute("DELETE FROM lanes WHERE drain_key = ? AND ready = 0 AND parked = 0", (key,))
        if counted:
            self._tally.set_aside(now)
        self._touched.add((key, priority))
        self._show_stored([(key, priority)])

    def _fail(self, error: JobUnreadable, attempt: int, now: Instant, expires_at: Instant | None) -> JobEvent:
        self._db.execute(
            """UPDATE jobs SET state = 'failed', ready_at = NULL, completed_at = ?, expires_at = ?, error = ?,
               error_code = ? WHERE id = ?""",
            (now, expires_at, str(error), error.code, error.job_id),
        )
        row = (error.job_id, State.FAILED, State.QUEUED, now, attempt, str(error))
        seq = insert(self._db, "events", "job_id, state, previous, at, attempt, error", [row])
        return JobEvent(
            seq=seq,
            job_id=error.job_id,
            state=State.FAILED,
            previous=State.QUEUED,
            at=now,
            model="",
            attempt=attempt,
            error=str(error),
        )

    def wake(self, now: Instant) -> int:
        """Make the queued jobs whose time has come claimable, and return their number."""
        due = "jobs INDEXED BY jobs_to_wake"
        when = "WHERE state = 'queued' AND ready_at <= ?"
        woken = self._rows(f"SELECT drain_key, priority, model FROM {due} {when}", (now,))
        if woken:
            self._db.execute(f"UPDATE {due} SET ready_at = NULL {when}", (now,))
        for key, priority, model in woken:
            if is_lane(key, priority) and type(model) is str:
                self._waiting[key, priority, model, True] -= 1
                self._waiting[key, priority, model, False] += 1
        return len(woken)

    def overdue(self, now: Instant, limit: int) -> list[Job | JobUnreadable]:
        """Return queued jobs past their `start_by`, or the error of an unreadable one."""
        sql = f"""SELECT {COLUMNS} FROM jobs INDEXED BY jobs_to_expire
                  WHERE state = 'queued' AND start_by <= ? ORDER BY start_by LIMIT ?"""
        return [_job_or_error(row) for row in self._rows(sql, (now, limit))]

    def next_due(self) -> Instant | None:
        """Return the time at which `wake` or `overdue` next finds a job."""
        due = self._rows("""
            SELECT (SELECT ready_at FROM jobs INDEXED BY jobs_to_wake
                    WHERE state = 'queued' AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1),
                   (SELECT start_by FROM jobs INDEXED BY jobs_to_expire
                    WHERE state = 'queued' AND start_by IS NOT NULL ORDER BY start_by LIMIT 1)""")[0]
        return min((float(str(at)) for at in due if at is not None), default=None)

    def set_note(self, name: str, value: str) -> None:
        """Set the value of a note."""
        self._db.execute(
            "INSERT INTO notes VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
        )

    def log_size(self) -> int:
        """Return the size of the write-ahead log in bytes. Safe in any thread."""
        return self._database.log_size()

    def checkpoint(self) -> int:
        """Checkpoint the write-ahead log and return its size in bytes before."""
        return self._database.checkpoint()

    def _post(self, posted: Sequence[tuple[JobEvent, str, str]]) -> None:
        """Write a delivery for each event with its URL and owner."""
        rows = [(one.seq, one.job_id, owner, receiver_of(url), url, "due", one.at) for one, url, owner in posted]
        insert(self._db, "deliveries", "seq, job_id, owner, receiver, url, state, due_at", rows)

    def _write_lanes(self) -> None:
        for (key, priority, model, parked), more in self._waiting.items():
            if more:
                column = "parked" if parked else "ready"
                self._db.execute(
                    f"""INSERT INTO lanes VALUES (?, ?, ?, ?, ?)
                        ON CONFLICT DO UPDATE SET {column} = {column} + excluded.{column}""",
                    (key, priority, model, 0 if parked else more, more if parked else 0),
                )
                if more < 0:
                    self._db.execute(
                        """DELETE FROM lanes
                           WHERE drain_key = ? AND priority = ? AND model = ? AND ready = 0 AND parked = 0""",
                        (key, priority, model),
                    )
        self._show_lanes()
        self._waiting.clear()

    def _show_lanes(self) -> None:
        """Update the board from the written lanes. A lane of unchanged size may have another head."""
        ready: Counter[tuple[str, int]] = Counter()
        for (key, priority, _, parked), more in self._waiting.items():
            self._board.count(key, more)
            ready[key, priority] += 0 if parked else more
        for (key, priority), more in ready.items():
            size = self._board.size(key, priority) + more
            self._board.put(key, priority, self._head(key, priority) if size else None, size)
        self._touched.update(ready)

    def _restore_board(self) -> None:
        """Reset the board to the disk for the lanes touched by a transaction that was rolled back."""
        self._show_stored(self._touched)
        self._touched.clear()

    def _show_stored(self, lanes: Iterable[tuple[str, int]]) -> None:
        for key, priority in lanes:
            waiting = self._value("SELECT sum(ready + parked) FROM lanes WHERE drain_key = ?", (key,))
            self._board.count(key, int(str(waiting or 0)) - self._board.waits(key))
            size = self._value("SELECT sum(ready) FROM lanes WHERE drain_key = ? AND priority = ?", (key, priority))
            self._board.put(key, priority, self._head(key, priority), int(str(size or 0)))

    def _head(self, key: str, priority: int) -> Head | None:
        # A non-ASCII id is another program's, perhaps not even text; it must not block the jobs behind it.
        sql = f"""SELECT since, id FROM {TO_CLAIM} WHERE {CLAIMABLE} AND drain_key = ? AND priority = ?
                  AND id NOT GLOB '*[^ -~]*' ORDER BY since, id LIMIT 1"""
        return next((Head(key, priority, since, id) for since, id in self._rows(sql, (key, priority))), None)


def _job_or_error(row: tuple[object, ...]) -> Job | JobUnreadable:
    try:
        return read_job(row)
    except JobUnreadable as error:
        return error


def _wanted(state: State, url: str | None, wanted: tuple[State, ...] | None) -> bool:
    return url is not None and (wanted is None or state in wanted)
