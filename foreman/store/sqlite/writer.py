"""The store on SQLite: one connection that writes, a few that read."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from foreman.domain.errors import JobUnreadable, StoreBusy, StoreRefused
from foreman.domain.job import RUNNING, Artifact, Delivery, Draft, Instant, Job, JobEvent, State
from foreman.domain.scheduling.choose import Head
from foreman.domain.usage import HOUR, MINUTE, NO_TOKENS, Tally, Tokens
from foreman.store.protocol import Lane
from foreman.store.sqlite.board import Board
from foreman.store.sqlite.error_codes import translate
from foreman.store.sqlite.files import Files
from foreman.store.sqlite.migrate import bring_up_to_date
from foreman.store.sqlite.reads import CLAIMABLE, HORIZON, TO_CLAIM, SqliteReader, is_lane
from foreman.store.sqlite.rows import COLUMNS, DRAFT, draft_row, insert, read_job, receiver_of
from foreman.store.sqlite.usage import UsageWriter
from foreman.store.sqlite.usage import prune as prune_usage

FREE_PAGES_AT_ONCE = 500  # returned to the file system by one checkpoint
LOG_KEPT = 64 * 2**20  # bytes of the log that stay reserved once it is folded
TIMEOUT = 5.0  # seconds that a write, a read or a start waits for another program's lock
AGAIN = 0.1  # seconds that the next writes wait once one has waited in vain: their callers are told soon


class SqliteWriter(SqliteReader):
    """The one writer. Opening it takes the data folder's lock, which the kernel frees however the process ends.

    `target` is the name under which figures of usage are kept.
    Raises StoreRefused when another Foreman holds the lock, when another program keeps the database locked, or when
    the file is not a database of this program.
    """

    def __init__(self, path: Path, *, target: str = "") -> None:
        self._lock = _lock(_lock_of(path))
        self.path = path
        with ExitStack() as opened:  # and closed again where the file is of no use
            opened.callback(os.close, self._lock)
            try:
                self._files = opened.enter_context(closing(Files(path)))
                db = opened.enter_context(closing(_open(path)))
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before the first table
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA wal_autocheckpoint = 4000")
                db.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
                bring_up_to_date(db, str(path))
                db.execute("BEGIN IMMEDIATE")  # waits for other programs now, not with the first job
                db.execute("ROLLBACK")
                self._files.learn(path, _log(path), path.with_name(path.name + "-shm"), _lock_of(path))
            except OSError as error:
                raise StoreRefused(f"the database {path} cannot be opened: {error.strerror}") from error
            except sqlite3.Error as error:
                known = translate(error)
                why = f"{known}: close it, then start again" if isinstance(known, StoreBusy) else error
                raise StoreRefused(f"the database {path} cannot be used: {why}") from error
            opened.pop_all()
        super().__init__(db, Board())
        self._patient = True  # as _open has it
        self._lent: list[sqlite3.Connection] = []  # of readers
        self._waiting: Counter[tuple[str, int, str, bool]] = Counter()  # changes to `lanes` not yet written
        self._usage = UsageWriter(db)
        self._touched: set[tuple[str, int]] = set()  # lanes of which the board may be ahead of what is on disk
        lanes = self._rows("SELECT drain_key, priority FROM lanes")
        self._touched.update((key, priority) for key, priority in lanes if is_lane(key, priority))
        self._restore_board()
        self._tally = Tally(target, waiting=self._board.waiting)

    def reader(self) -> SqliteReader:
        """A reader with a connection of its own, which is closed with the store."""
        db = _open(self.path)
        db.execute("PRAGMA query_only = ON")
        self._lent.append(db)
        return SqliteReader(db, self._board)

    def close(self) -> None:
        """Close it, its own connection last: the last one folds the log, so that all is in one file."""
        for db in (*self._lent, self._db):
            db.close()
        self._files.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._wait_for_locks(patient=True)
            self._restore_board()
            yield
            self._write_lanes()
            self._usage.write(self._tally.figures, self._tally.depths())
            self._db.execute("COMMIT")
            self._files.check()
        except BaseException as error:
            self._waiting.clear()
            self._tally.forget()
            self._usage.forget()
            with suppress(sqlite3.Error):  # what went wrong before is told
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            known = translate(error) if isinstance(error, (sqlite3.Error, OverflowError, UnicodeEncodeError)) else error
            if isinstance(known, StoreBusy):
                self._wait_for_locks(patient=False)
            if known is error:
                raise
            raise known from error
        self._touched.clear()
        self._tally.commit()

    def _wait_for_locks(self, *, patient: bool) -> None:
        """Have the next transactions wait for other programs, long or, where that was in vain, a moment."""
        if patient != self._patient:
            self._db.execute(f"PRAGMA busy_timeout = {1000 * (TIMEOUT if patient else AGAIN):.0f}")
            self._patient = patient

    def lanes(self) -> list[Lane]:
        self._write_lanes()
        return super().lanes()

    def board(self) -> Board:
        self._write_lanes()
        return self._board

    def add(self, drafts: Sequence[Draft], *, now: Instant) -> list[JobEvent]:
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
        first = self._write(job, previous)
        self._tally.changed(job, previous, now, first=first)
        return self._log(job, [(job.state, previous)], now)[0]

    def begin(self, job: Job, *, now: Instant) -> list[JobEvent]:
        first = self._write(job, State.QUEUED)
        self._tally.changed(job, State.QUEUED, now, first=first)
        return self._log(job, [(State.LOADING, State.QUEUED), (State.WORKING, State.LOADING)], now)

    def _write(self, job: Job, previous: State) -> bool:
        """Write the job as it is now; return whether it starts for the first time."""
        first = False
        if previous is State.QUEUED:
            # A claim comes with the job as read in this transaction. For the others it is read before the write: they
            # may have been woken since.
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

    def _log(self, job: Job, steps: Sequence[tuple[State, State]], now: Instant) -> list[JobEvent]:
        """The changes, each a state and the one before it."""
        rows = [(job.id, state, previous, now, job.attempt, job.error) for state, previous in steps]
        last = insert(self._db, "events", "job_id, state, previous, at, attempt, error", rows)
        events = [
            JobEvent(
                seq=last - len(steps) + number,
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
            for number, (state, previous) in enumerate(steps, start=1)
        ]
        self._post([(event, job.webhook_url or "", job.owner) for event in events if event.posted])
        return events

    def keep(self, job_id: str, artifacts: Iterable[Artifact]) -> None:
        self._db.executemany(
            "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?)",
            [(job_id, n, a.name, a.content_type, len(a.data), a.data) for n, a in enumerate(artifacts)],
        )

    def used(self, job: Job, *, tokens: Tokens = NO_TOKENS, loads: int = 0, now: Instant) -> None:
        self._tally.used(job, now, tokens=tokens, loads=loads)

    def sample(self, now: Instant) -> None:
        self._tally.sample(now)

    def prune_usage(self, *, minutes: int, hours: int) -> None:
        prune_usage(self._db, MINUTE, minutes)
        prune_usage(self._db, HOUR, hours)

    def settle(self, delivery: Delivery) -> None:
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
        self._db.execute("UPDATE jobs SET webhook_url = NULL WHERE id = ?", (job_id,))
        self._db.execute(
            "UPDATE deliveries SET state = 'stopped', ended_at = ? WHERE job_id = ? AND state = 'due'", (now, job_id)
        )

    def delete(self, job_ids: Sequence[str], *, pruning: bool = False) -> None:
        if pruning and job_ids:
            marks = ", ".join("?" * len(job_ids))
            newest = self._value(f"SELECT max(seq) FROM events WHERE job_id IN ({marks})", tuple(job_ids))
            self.set_note(HORIZON, str(max(self.horizon(), int(str(newest or 0)))))
        self._db.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in job_ids])

    def set_aside(self, error: JobUnreadable, *, now: Instant, expires_at: Instant | None) -> JobEvent | None:
        self._write_lanes()
        sql = "SELECT drain_key, priority, ready_at IS NOT NULL, attempt FROM jobs WHERE id = ? AND state = 'queued'"
        row = next(iter(self._rows(sql, (error.job_id,))), None)
        event = self._fail(error, row[3], now, expires_at) if row else None
        # It was counted where the board has it, whatever the other program has made of its row.
        if head := next((head for head in self._board.heads() if head.id == error.job_id), None):
            self._take_off(error.job_id, head.key, head.priority, "ready", now)
        elif row and is_lane(row[0], row[1]):
            self._take_off(error.job_id, row[0], row[1], "parked" if row[2] else "ready", now)
        return event

    def _take_off(self, job_id: str, key: str, priority: int, column: str, now: Instant) -> None:
        """Count a job out of its lane, of which the next one becomes the head."""
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
        sql = f"""SELECT {COLUMNS} FROM jobs INDEXED BY jobs_to_expire
                  WHERE state = 'queued' AND start_by <= ? ORDER BY start_by LIMIT ?"""
        return [_job_or_fault(row) for row in self._rows(sql, (now, limit))]

    def next_due(self) -> Instant | None:
        due = self._rows("""
            SELECT (SELECT ready_at FROM jobs INDEXED BY jobs_to_wake
                    WHERE state = 'queued' AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1),
                   (SELECT start_by FROM jobs INDEXED BY jobs_to_expire
                    WHERE state = 'queued' AND start_by IS NOT NULL ORDER BY start_by LIMIT 1)""")[0]
        return min((float(str(at)) for at in due if at is not None), default=None)

    def prunable(self, now: Instant, limit: int) -> list[str]:
        sql = "SELECT id FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        return [job_id for (job_id,) in self._rows(sql, (now, limit)) if type(job_id) is str]

    def set_note(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO notes VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
        )

    def log_size(self) -> int:
        """Bytes of the write-ahead log; any thread may ask."""
        try:
            return _log(self.path).stat().st_size
        except FileNotFoundError:
            return 0

    def checkpoint(self) -> int:
        size = self.log_size()
        try:
            # execute() would free a single page: it stops at the first row the pragma returns.
            self._db.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES_AT_ONCE})")
            # Readers are never waited for: one of another program may read for hours. What they do not need is folded.
            [(busy, pages, folded)] = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if not busy and pages == folded:
                self._truncate()
        except sqlite3.Error as error:
            raise translate(error) from error
        return size

    def _truncate(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {1000 * (TIMEOUT if self._patient else AGAIN):.0f}")

    def _post(self, posted: Sequence[tuple[JobEvent, str, str]]) -> None:
        """Write a delivery for each of the changes, to the URL and of the owner beside it."""
        rows = [(c.seq, c.job_id, owner, receiver_of(url), url, "due", c.at) for c, url, owner in posted]
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
        """Have the board show what was written. Also a lane of as many jobs as before may have another head."""
        ready: Counter[tuple[str, int]] = Counter()
        for (key, priority, _, parked), more in self._waiting.items():
            self._board.count(key, more)
            ready[key, priority] += 0 if parked else more
        for (key, priority), more in ready.items():
            size = self._board.size(key, priority) + more
            self._board.put(key, priority, self._head(key, priority) if size else None, size)
        self._touched.update(ready)

    def _restore_board(self) -> None:
        """Have the board show what is on disk, of lanes that a transaction touched which never was."""
        self._show_stored(self._touched)
        self._touched.clear()

    def _show_stored(self, lanes: Iterable[tuple[str, int]]) -> None:
        for key, priority in lanes:
            waiting = self._value("SELECT sum(ready + parked) FROM lanes WHERE drain_key = ?", (key,))
            self._board.count(key, int(str(waiting or 0)) - self._board.waits(key))
            size = self._value("SELECT sum(ready) FROM lanes WHERE drain_key = ? AND priority = ?", (key, priority))
            self._board.put(key, priority, self._head(key, priority), int(str(size or 0)))

    def _head(self, key: str, priority: int) -> Head | None:
        # An id that is not ASCII is another program's, and perhaps no text at all: those behind it are to run.
        sql = f"""SELECT since, id FROM {TO_CLAIM} WHERE {CLAIMABLE} AND drain_key = ? AND priority = ?
                  AND id NOT GLOB '*[^ -~]*' ORDER BY since, id LIMIT 1"""
        return next((Head(key, priority, since, id) for since, id in self._rows(sql, (key, priority))), None)


def _job_or_fault(row: tuple[object, ...]) -> Job | JobUnreadable:
    try:
        return read_job(row)
    except JobUnreadable as error:
        return error


def _wanted(state: State, url: str | None, wanted: tuple[State, ...] | None) -> bool:
    return url is not None and (wanted is None or state in wanted)


def _open(path: Path) -> sqlite3.Connection:
    with ExitStack() as opened:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        opened.callback(db.close)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA busy_timeout = {1000 * TIMEOUT:.0f}")
        opened.pop_all()
    return db


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _lock_of(path: Path) -> Path:
    return path.with_name("foreman.lock")


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreRefused(f"the data folder {path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StoreRefused(f"another foreman is using {path.parent}: stop it, or choose another data_dir") from error
    return handle
