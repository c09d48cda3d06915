"""The PostgreSQL store's writer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psycopg
import structlog
from msgspec.structs import replace

from foreman.domain.errors import JobUnreadable, StoreAway, StoreBroken, StoreRefused
from foreman.domain.job import (
    Artifact,
    CallerKey,
    Delivery,
    DeliveryState,
    Draft,
    Instant,
    Job,
    JobEvent,
    LoadKey,
)
from foreman.domain.nodes import NodeState, TargetReport
from foreman.domain.scheduling.choose import Head
from foreman.domain.scheduling.prefixes import Neighbour
from foreman.domain.webhooks.endpoints import EndpointDelivery
from foreman.store.blob_folder import BlobFolder, fleet_folder
from foreman.store.blobs import BlobStorage
from foreman.store.postgres import migrate, news
from foreman.store.postgres.address import read_address
from foreman.store.postgres.blob_rows import BlobRows
from foreman.store.postgres.changes import CHANGE, columns_of
from foreman.store.postgres.connection import Connection, ConnectionLost, Statement
from foreman.store.postgres.error_codes import UNSENDABLE, first_line, translate
from foreman.store.postgres.news import State
from foreman.store.postgres.nodes import BEGIN, LOCK, Identity, Membership, read_node
from foreman.store.postgres.reads import PostgresReader
from foreman.store.postgres.search import PostgresSearchWrites
from foreman.store.records import NO_ARTIFACTS, Line, News, Seqs
from foreman.store.sql.reads import CLAIMABLE, IN_LINE, is_line
from foreman.store.sql.rows import COLUMNS, read_event, read_job
from foreman.store.sql.writes import LINE, SqlWriter

log = structlog.get_logger()

SETTLED_WITHIN = 300.0  # seconds in which an uncertain commit must be settled, or the process ends
SETTLES_EVERY = 0.1  # seconds
EMPTY_LINES_FOR = 1_000_000  # commits; a node that has not looked for longer has been evicted
LAST_SEQ = 2**63 - 1
AHEAD = 65_536  # bytes of the largest payloads that are read before it is certain that their jobs are claimed
OF_A_JOB = ("payloads", "artifacts", "events", "deliveries")  # the tables with what belongs to a job


R = TypeVar("R", Job, JobEvent, Delivery, EndpointDelivery)

STATE = LOCK[0].removesuffix(" FOR UPDATE")


class PostgresWriter(PostgresSearchWrites, SqlWriter, PostgresReader):
    """The writer of a node.

    Every transaction locks the one row of `fleet_state` first, so that one node writes at a time, and counts itself in
    the node's row: after a connection was lost during a commit, that number tells whether it was committed.
    """

    READABLE_ID: ClassVar[str] = "true"  # text is always valid here
    looks_every = 0.1

    def __init__(self, url: str, identity: Identity, blobs: Path | None = None) -> None:
        """Open the database, bring its tables up to date, and join. Raise StoreRefused.

        New blobs go to the folder `blobs`, else to the database.
        """
        self._address = read_address(url)
        self._name = identity.name
        self._readers: list[Connection] = []
        self._connection = Connection(self._address)
        try:
            db = self._connection.connect()
            migrate.check_server(db)
            migrate.bring_up_to_date(db, str(self._address))
            super().__init__(self._connection)
            self._member = Membership(self._connection, identity, str(self._address))
            self._fleet = State(*self._connection.rows(STATE)[0])
            self.secret: bytes | None = (secret := bytes(self._connection.rows("SELECT secret FROM fleet_state")[0][0]))
        except StoreRefused:
            self._connection.close()
            raise
        except (psycopg.Error, StoreAway, ConnectionLost) as error:
            self._connection.close()
            raise StoreRefused(f"the database {self._address} cannot be used: {first_line(error)}") from error
        self._folder = None if blobs is None else BlobFolder(blobs / fleet_folder(secret), identity.name)
        self.blobs: BlobStorage = self._folder or BlobRows(self._address, identity.name)
        self._seen = self._fleet  # what `news` has told
        self._writing = False
        self._crowded = False  # others have committed since this node's last transaction
        self._asked: list[list[tuple[Any, ...]]] = []  # the rows of news that came with the write lock
        self._told = self._posted = False  # what the transaction has changed besides
        self._last = -1  # commits in all, after this node's last transaction

    def __str__(self) -> str:
        return str(self._address)

    def reader(self) -> PostgresReader:
        """Return a reader with a connection of its own, which is closed with the store."""
        self._readers.append(Connection(self._address))
        return PostgresReader(self._readers[-1], self._folder)

    def close(self) -> None:
        """Leave the fleet and close all connections."""
        self._member.leave()
        for connection in (*self._readers, self._connection):
            connection.close()
        if isinstance(self.blobs, BlobRows):
            self.blobs.close()

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run all writes inside in one transaction; yield the server's time."""
        before = self._fleet
        try:
            self._writing = True
            at = self._begin()
            yield at
            self._commit()
        except BaseException as error:
            self._connection.rollback()
            self._forget()
            self._member.forget()
            self._fleet = before
            known = translate(error) if isinstance(error, (psycopg.Error, *UNSENDABLE)) else error
            if known is error:
                raise
            raise known from error
        finally:
            self._writing, self._asked = False, []
            self._name_blobs()

    def _begin(self) -> Instant:
        self._connection.begin(*BEGIN)
        asked = news.queries(self._seen, LAST_SEQ) if self._crowded else []
        [state], fence, *self._asked = self._connection.ask(LOCK, self._member.fence(), *asked)
        self._fleet, self._seq = State(*state), state[1]
        self._crowded = self._last != self._fleet.commits
        if self._crowded:
            self._recent.clear()
        self._last = self._fleet.commits
        self._told = self._posted = self._connection.wrote = False
        return float(fence[0][0]) if fence else self._member.join_again()

    def _commit(self) -> None:
        if not self._connection.wrote and not self._told:
            self._connection.rollback()
            return
        batch, before, after = self._member.batch + 1, self._fleet, self._fleet
        count: list[Statement] = []
        if self._connection.wrote:
            after = before._replace(commits=before.commits + 1, seq=self._seq, posts=before.posts + self._posted)
            sql = "UPDATE fleet_state SET commits = ?, seq = ?, posts = ?"
            count = [(sql, (after.commits, after.seq, after.posts))]
        try:
            self._connection.commit(*count)
        except ConnectionLost as lost:
            self._settle(batch, lost)
        self._member.batch = batch
        if self._seen.commits == before.commits:  # nothing of others is untold
            self._seen = after
        self._fleet, self._last = after, after.commits

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
                stored = self._member.has_committed(batch)
            except StoreAway as error:
                if time.monotonic() > until:
                    raise StoreBroken(f"the database cannot say if a commit is stored: {error}") from error
                time.sleep(SETTLES_EVERY)
                continue
            log.info("the commit is stored" if stored else "the commit is not stored")
            if stored:
                return
            raise StoreAway(str(lost)) from lost

    def _is_ours(self) -> bool:
        """Return True: what others may have changed is forgotten when a transaction begins."""
        return True

    def news(self) -> News | None:
        """Return what other nodes have committed since the last call, or None when that is nothing."""
        if not self._writing:
            self._fleet = State(*self._connection.rows(STATE)[0])
        seen, now, asked = self._seen, self._fleet, self._asked
        if seen.commits == now.commits:
            return None
        # Outside of a transaction there may be later ones already: they are told next time.
        found = asked or self._connection.ask(*news.queries(seen, now.seq))
        self._seen, self._asked = now, []
        return News(
            newest=now.seq,
            events=self._readable(read_event, found[0]),
            jobs={job.id: job for job in self._readable(read_job, found[1])},
            lines=[news.read_line(row) for row in found[2] if is_line(*row[:4])],
            paused=bool(found[3]) and found[3][0][0] == "true",
            posted=seen.posts != now.posts,
            nodes=[read_node(row) for row in found[4]] or None,
        )

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""
        return Seqs(self._seq, super().seqs().pruned) if self._writing else super().seqs()

    def heads(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Head]:
        """Return up to `limit` of the oldest claimable jobs of a line, and keep them for the claims that follow."""
        sql = f"""SELECT {COLUMNS}, CASE WHEN octet_length(body) <= {AHEAD} THEN body END
                  FROM jobs LEFT JOIN payloads ON job_id = id WHERE {CLAIMABLE} AND {IN_LINE}
                  ORDER BY since, id LIMIT ?"""
        rows = self._connection.rows(sql, (key, priority, *caller, limit))
        for row in reversed(rows):  # the first ones are kept longest
            if row[-1] is not None:
                with suppress(JobUnreadable):  # the claim finds out
                    self._recent.add(read_job(row), bytes(row[-1]))
        return [Head(key, int(priority), row[10], row[0], caller) for row in rows]

    def neighbours(self, key: LoadKey, priority: int, caller: CallerKey, path: bytes) -> list[Neighbour]:
        """Return the claimable jobs of a line whose prefixes are next to a path, the oldest of each prefix."""
        alike = f"FROM jobs WHERE {CLAIMABLE} AND {IN_LINE} AND prefix"
        queries = [
            (
                f"""SELECT prefix, since, id {alike} = (SELECT prefix {alike} {side} LIMIT 1)
                    ORDER BY since, id LIMIT 1""",
                (key, priority, *caller, key, priority, *caller, path),
            )
            for side in ("<= ? ORDER BY prefix DESC", "> ? ORDER BY prefix")
        ]
        return [Neighbour(bytes(row[0]), *row[1:]) for rows in self._connection.ask(*queries) for row in rows]

    def lines(self) -> list[Line]:
        """Return the lines with their stored numbers of jobs."""
        return [line for line in super().lines() if line.ready or line.parked]

    def add(self, drafts: Sequence[Draft], jobs: Sequence[Job]) -> None:
        """Insert the jobs of the drafts, with their payloads and idempotency keys."""
        super().add(drafts, [_storable(job) for job in jobs])

    def put(self, jobs: Sequence[Job], artifacts: Mapping[str, Sequence[Artifact]] = NO_ARTIFACTS) -> None:
        """Write what changes in the rows of jobs, in order, and add the artifacts by job."""
        super().put([_storable(job) for job in jobs], artifacts)

    def _change(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self._sql.run(CHANGE, columns_of(jobs))

    def log(self, events: Sequence[JobEvent]) -> None:
        """Append events to the log."""
        super().log([_storable(event) for event in events])
        self._seq = max([self._seq, *(event.seq for event in events)])

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries, new ones and changed ones."""
        latest = {one.seq: one for one in deliveries}  # a statement may not change a row twice
        super().put_deliveries([_storable(one) for one in latest.values()])
        self._posted |= any(one.state is DeliveryState.DUE for one in latest.values())
        if any(one.state is DeliveryState.STOPPED for one in latest.values()):
            self._member.announce()

    def put_endpoint_deliveries(self, deliveries: Sequence[EndpointDelivery]) -> None:
        """Write deliveries to endpoints, new ones and changed ones."""
        super().put_endpoint_deliveries([_storable(one) for one in deliveries])
        self._posted |= any(one.state is DeliveryState.DUE for one in deliveries)

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Write the numbers of jobs of these lines; empty ones stay until all nodes have seen them."""
        rows = [
            (one.key, int(one.priority), *one.caller, one.ready, one.parked, self._fleet.commits + 1) for one in lines
        ]
        changed = "ready = excluded.ready, parked = excluded.parked, version = excluded.version"
        otherwise = f" ON CONFLICT ({LINE}) DO UPDATE SET {changed}"
        self._sql.insert("lines", f"{LINE}, ready, parked, version", rows, otherwise)

    def prune(self, now: Instant, limit: int) -> list[str]:
        """Delete up to `limit` expired jobs with all that belongs to them, and return their ids."""
        expired = super().prune(now, limit)
        empty = "SELECT 1 FROM lines WHERE ready = 0 AND parked = 0 AND version < ? LIMIT 1"
        if self._sql.rows(empty, (before := (self._fleet.commits - EMPTY_LINES_FOR,))):
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

    @property
    def coordinator(self) -> str:
        """Return the node that prunes and sends webhooks, as of the last transaction."""
        return self._fleet.coordinator

    def coordinate(self) -> None:
        """Make this node the coordinator."""
        self._sql.run("UPDATE fleet_state SET coordinator = ?", (self._name,))
        self._fleet = self._fleet._replace(coordinator=self._name)

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> None:
        """Write how this node is. A commit of nothing else is no news to others."""
        wrote, self._told = self._connection.wrote, True
        self._connection.wrote = self._member.tell(targets, state) or wrote

    def evict(self, name: str) -> None:
        """Write that a node is gone. What it still commits is refused until it has joined again."""
        self._member.evict(name)

    def is_away(self) -> bool:
        """Return True while the server cannot be reached. Safe in any thread."""
        return self._connection.is_away

    def log_size(self) -> None:
        """Return None: the server keeps its own log."""

    def checkpoint(self) -> int:
        """Return 0: the server keeps its own log."""
        return 0


def _storable(record: R) -> R:
    """Return the record with an error that the server can keep: a target's own words may hold U+0000."""
    if record.error and "\0" in record.error:
        return replace(record, error=record.error.replace("\0", "\ufffd"))
    return record
