"""The PostgreSQL store's writer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import psycopg
import structlog

from foreman.domain.errors import StoreAway, StoreBroken, StoreRefused
from foreman.domain.job import Delivery, DeliveryState, Instant, JobEvent, Priority
from foreman.domain.scheduling.choose import Head
from foreman.store.postgres import migrate
from foreman.store.postgres.address import read_address
from foreman.store.postgres.connection import Connection, ConnectionLost, Statement
from foreman.store.postgres.error_codes import UNSENDABLE, first_line, translate
from foreman.store.postgres.nodes import BEGIN, LOCK, Membership, Node
from foreman.store.postgres.reads import PostgresReader
from foreman.store.protocol import PAUSED, Line, News, Seqs
from foreman.store.sql.reads import CLAIMABLE, EVENTS, is_line
from foreman.store.sql.rows import COLUMNS, read_event, read_job
from foreman.store.sql.writes import LINE, SqlWriter

log = structlog.get_logger()

SETTLED_WITHIN = 300.0  # seconds in which an uncertain commit must be settled, or the process ends
SETTLES_EVERY = 0.1  # seconds
BEATS_EVERY = 3.0  # seconds without a transaction
EMPTY_LINES_FOR = 1_000_000  # commits; a node that has not looked for longer has been evicted
OF_A_JOB = ("payloads", "artifacts", "events", "deliveries")  # the tables with what belongs to a job


class PostgresWriter(SqlWriter, PostgresReader):
    """The writer of a node.

    Every transaction locks the one row of `fleet_state` first, so that one node writes at a time, and counts itself in
    the node's row: after a connection was lost during a commit, that number tells whether it was committed.
    """

    READABLE_ID: ClassVar[str] = "true"  # text is always valid here
    looks_every: float | None = 1.0

    def __init__(self, url: str, node: Node) -> None:
        """Open the database, bring its tables up to date, and join. Raise StoreRefused."""
        self._address = read_address(url)
        self._readers: list[Connection] = []
        self._connection = Connection(self._address)
        try:
            db = self._connection.connect()
            migrate.check_server(db)
            migrate.bring_up_to_date(db, str(self._address))
            super().__init__(self._connection)
            self._member = Membership(self._connection, node, str(self._address))
            [(self._commits, self._seq, self._posts)] = self._connection.rows(LOCK[0].removesuffix(" FOR UPDATE"))
        except StoreRefused:
            self._connection.close()
            raise
        except (psycopg.Error, StoreAway, ConnectionLost) as error:
            self._connection.close()
            raise StoreRefused(f"the database {self._address} cannot be used: {first_line(error)}") from error
        self._seen = self._commits, self._seq, self._posts  # what `news` has told
        self._writing = False
        self._posted = False  # True when the transaction has made a delivery due
        self._ours = True  # False when others have written since this node's last transaction
        self._beats_at = 0.0  # by the monotonic clock

    def __str__(self) -> str:
        return str(self._address)

    def reader(self) -> PostgresReader:
        """Return a reader with a connection of its own, which is closed with the store."""
        self._readers.append(Connection(self._address))
        return PostgresReader(self._readers[-1])

    def close(self) -> None:
        """Leave the fleet and close all connections."""
        self._member.leave()
        for connection in (*self._readers, self._connection):
            connection.close()

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run all writes inside in one transaction; yield the server's time."""
        try:
            self._writing = True
            at = self._begin()
            yield at
            self._commit()
        except BaseException as error:
            self._connection.rollback()
            self._forget()
            known = translate(error) if isinstance(error, (psycopg.Error, *UNSENDABLE)) else error
            if known is error:
                raise
            raise known from error
        finally:
            self._writing = False

    def _begin(self) -> Instant:
        self._connection.begin(*BEGIN)
        [(commits, seq, posts)], fence = self._connection.ask(LOCK, self._member.fence())
        if not fence:
            raise StoreBroken(f"another foreman has taken this node's place in the database {self._address}")
        self._ours = self._commits == commits
        self._commits, self._seq, self._posts, self._posted = commits, seq, posts, False
        self._connection.wrote = False
        self._beats_at = time.monotonic() + BEATS_EVERY
        return float(fence[0][0])

    def _commit(self) -> None:
        if not self._connection.wrote:
            self._connection.rollback()
            return
        batch, commits, posts = self._member.batch + 1, self._commits + 1, self._posts + self._posted
        count: Statement = ("UPDATE fleet_state SET commits = ?, seq = ?, posts = ?", (commits, self._seq, posts))
        try:
            self._connection.commit(count)
        except ConnectionLost as lost:
            self._settle(batch, lost)
        self._member.batch = batch
        if self._seen[0] == self._commits:  # nothing of others is untold
            self._seen = commits, self._seq, posts
        self._commits, self._posts = commits, posts

    def _settle(self, batch: int, lost: ConnectionLost) -> None:
        """Return if the batch was committed although its answer was lost; wait until the server can tell.

        Raises:
            StoreAway: It was not committed.
            StoreBroken: Nobody can tell.
        """
        log.warning("the connection was lost during a commit: waiting to learn if it is stored", why=str(lost))
        until = time.monotonic() + SETTLED_WITHIN
        while True:
            try:
                epoch, found = self._member.marker()
            except StoreAway as error:
                if time.monotonic() > until:
                    raise StoreBroken(f"the database cannot say if a commit is stored: {error}") from error
                time.sleep(SETTLES_EVERY)
                continue
            if epoch != self._member.epoch:
                raise StoreBroken(f"another foreman has taken this node's place in the database {self._address}")
            log.info("the commit is stored" if found == batch else "the commit is not stored")
            if found == batch:
                return
            raise StoreAway(str(lost)) from lost

    def _is_ours(self) -> bool:
        """Return True unless others have written since this node's last transaction."""
        if not self._ours:
            self._recent.clear()
            self._ours = True
            return False
        return True

    def news(self) -> News | None:
        """Return what other nodes have committed since the last call, or None when that is nothing."""
        if not self._writing:
            if self._beats_at < time.monotonic():
                self._member.beat()
                self._beats_at = time.monotonic() + BEATS_EVERY
            [(self._commits, self._seq, self._posts)] = self._connection.rows(
                "SELECT commits, seq, posts FROM fleet_state"
            )
        commits, seq, posts = self._seen
        if commits == self._commits:
            return None
        events = f"{EVENTS} WHERE e.seq > ? ORDER BY e.seq"
        jobs = f"SELECT {COLUMNS} FROM jobs WHERE id IN (SELECT job_id FROM events WHERE seq > ?)"
        alike = " AND ".join(f"{column} = l.{column}" for column in LINE.split(", "))
        lines = f"""SELECT {", ".join(f"l.{column}" for column in LINE.split(", "))}, ready, parked, since, id
            FROM lines l LEFT JOIN LATERAL (SELECT since, id FROM jobs WHERE {CLAIMABLE} AND {alike}
                                            ORDER BY since, id LIMIT 1) AS head ON true
            WHERE l.version > ?"""
        paused = ("SELECT value FROM notes WHERE name = ?", (PAUSED,))
        found = self._connection.ask((events, (seq,)), (jobs, (seq,)), (lines, (commits,)), paused)
        told = News(
            newest=self._seq,
            events=self._readable(read_event, found[0]),
            jobs={job.id: job for job in self._readable(read_job, found[1])},
            lines=[_line(row) for row in found[2] if is_line(*row[:4])],
            paused=bool(found[3]) and found[3][0][0] == "true",
            posted=posts != self._posts,
        )
        self._seen = self._commits, self._seq, self._posts
        return told

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""
        return Seqs(self._seq, super().seqs().pruned) if self._writing else super().seqs()

    def lines(self) -> list[Line]:
        """Return the lines with their stored numbers of jobs."""
        return [line for line in super().lines() if line.ready or line.parked]

    def log(self, events: Sequence[JobEvent]) -> None:
        """Append events to the log."""
        super().log(events)
        self._seq = max([self._seq, *(event.seq for event in events)])

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries, new ones and changed ones."""
        latest = {one.seq: one for one in deliveries}  # a statement may not change a row twice
        super().put_deliveries(list(latest.values()))
        self._posted |= any(one.state is DeliveryState.DUE for one in latest.values())

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Write the numbers of jobs of these lines; empty ones stay until all nodes have seen them."""
        rows = [(one.key, int(one.priority), *one.caller, one.ready, one.parked, self._commits + 1) for one in lines]
        changed = "ready = excluded.ready, parked = excluded.parked, version = excluded.version"
        otherwise = f" ON CONFLICT ({LINE}) DO UPDATE SET {changed}"
        self._sql.insert("lines", f"{LINE}, ready, parked, version", rows, otherwise)

    def prune(self, now: Instant, limit: int) -> list[str]:
        """Delete up to `limit` expired jobs with all that belongs to them, and return their ids."""
        expired = super().prune(now, limit)
        empty = "SELECT 1 FROM lines WHERE ready = 0 AND parked = 0 AND version < ? LIMIT 1"
        if self._sql.rows(empty, (before := (self._commits - EMPTY_LINES_FOR,))):
            self._sql.run("DELETE FROM lines WHERE ready = 0 AND parked = 0 AND version < ?", before)
        return expired

    def _mark_pruned(self, seq: int) -> None:
        self._sql.run("UPDATE fleet_state SET pruned = greatest(pruned, ?)", (seq,))

    def _remove(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            self._recent.drop(job_id)
        for table in OF_A_JOB:
            self._sql.run(f"DELETE FROM {table} WHERE job_id = ANY(?)", (list(job_ids),))
        self._sql.run("DELETE FROM jobs WHERE id = ANY(?)", (list(job_ids),))

    def checkpoint(self) -> int:
        """Return 0: the server keeps its own log."""
        return 0


def _line(row: tuple[str, int, str, str, int, int, float | None, str | None]) -> tuple[Line, Head | None]:
    key, priority, owner, caller, ready, parked, since, job_id = row
    line = Line(key=key, priority=Priority(priority), caller=(owner, caller), ready=ready, parked=parked)
    if since is None or job_id is None:
        return line, None
    return line, Head(key, priority, since, job_id, (owner, caller))
