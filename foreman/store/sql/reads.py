"""The reads of engines that speak SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

import structlog

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import CallerKey, Delivery, Instant, Job, JobEvent, LoadKey
from foreman.domain.scheduling.choose import CLASSES
from foreman.domain.scheduling.sequence import Waiting
from foreman.domain.usage import NO_FILTER, NO_PRICES, Depth, Price, Row
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.store.records import ALL, Cursor, Due, Order, Selection, Seqs, Shape
from foreman.store.sql import due, listing, usage
from foreman.store.sql.batches import BatchReads
from foreman.store.sql.endpoints import EndpointReads
from foreman.store.sql.files import FileReads
from foreman.store.sql.rows import COLUMNS, DELIVERY, read_delivery, read_event, read_job
from foreman.store.sql.search import SearchReads
from foreman.store.sql.statements import Statements

log = structlog.get_logger()

T = TypeVar("T")


# The index is named because the planner may prefer the one on state alone and read every queued job.
TO_CLAIM = "jobs INDEXED BY jobs_to_claim"
CLAIMABLE = "state = 'queued' AND ready_at IS NULL"
WAITING = "since, id, prefix, most_tokens"
LAST = b"\xff" * 32  # after a hash: more than what follows it in any path
IN_LINE = "drain_key = ? AND priority = ? AND owner = ? AND caller = ?"
EVENTS = """
    SELECT e.seq, e.job_id, e.state, e.previous, e.at, j.model, e.attempt, e.error, j.custom_id, j.owner, e.target
    FROM events e JOIN jobs j ON j.id = e.job_id
"""  # the columns of EVENT

MOST_LOGGED = 1000  # unreadable rows logged, each once
_logged: set[str] = set()


def is_line(key: object, priority: object, owner: object, caller: object) -> bool:
    """Return True when these values of a row of `jobs` or `lines` are valid."""
    return type(key) is str and priority in CLASSES and type(owner) is str and type(caller) is str


class SqlReader(FileReads, BatchReads, EndpointReads, SearchReads, ABC):
    """The reads of an engine that speaks SQL. Every call fetches all rows, so no read transaction outlives it."""

    NO_LIMIT: ClassVar[int | None]  # the value of LIMIT for no limit

    def __init__(self, statements: Statements) -> None:
        self._sql = statements

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Run all reads inside on one consistent state."""

    @abstractmethod
    def seqs(self) -> Seqs:
        """Return the limits of the event log."""

    @abstractmethod
    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return the size of an artifact or payload in bytes, or None when there is none."""

    @abstractmethod
    def content(self, job_id: str, name: str | None = None, *, begin: int = 0, size: int | None = None) -> bytes | None:
        """Return the bytes of an artifact or payload, or a part of them."""

    def _readable(self, read: Callable[[tuple[Any, ...]], T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
        """Return the readable rows; unreadable ones are logged once and do not hide the others."""
        found = []
        for row in rows:
            try:
                found.append(read(row))
            except JobUnreadable as error:
                if str(error) not in _logged and len(_logged) < MOST_LOGGED:
                    _logged.add(str(error))
                    log.warning("left out what cannot be read", why=str(error), hint=error.hint)
        return found

    def _by_seq(
        self, read: Callable[[tuple[Any, ...]], T], sql: str, values: tuple[object, ...], after: int, limit: int | None
    ) -> list[T]:
        """Return up to `limit` readable rows after the seq `after`; the seq is the first column."""
        found: list[T] = []
        while True:  # runs once unless some rows are unreadable
            most = self.NO_LIMIT if limit is None else limit - len(found)
            before = len(found)
            rows = self._sql.rows(sql, (*values, after, most))
            found += self._readable(read, rows)
            if limit is None or len(rows) < limit - before or len(found) == limit:
                return found
            after = rows[-1][0]

    def job(self, job_id: str) -> Job | None:
        """Return a job, or None when there is none."""
        rows = self._sql.rows(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,))
        return read_job(rows[0]) if rows else None

    def jobs(
        self, wanted: Selection = ALL, *, order: Order = Order.NEWEST, after: Cursor | None = None, limit: int
    ) -> list[Job]:
        """Return up to `limit` of the selected jobs after a cursor, in order."""
        way, found = self._way(wanted, order), list[Job]()
        while True:  # runs once unless some jobs are unreadable
            most = limit - len(found)
            sql, values = listing.page(way, wanted, order, after, most, self.MATCH)
            places = [Cursor(str(job_id), ended) for ended, job_id in self._sql.rows(sql, tuple(values))]
            ids = tuple(place.id for place in places)
            marks = ", ".join("?" * len(ids))
            rows = self._sql.rows(f"SELECT {COLUMNS} FROM jobs WHERE id IN ({marks})", ids) if ids else []
            jobs = {job.id: job for job in self._readable(read_job, rows)}
            found += [jobs[job_id] for job_id in ids if job_id in jobs]
            if len(ids) < most or len(found) == limit:
                return found
            after = places[-1]

    def count(self, wanted: Selection, *, most: int) -> int:
        """Return the number of selected jobs, exact up to `most`."""
        sql, values = listing.total(self._way(wanted, Order.NEWEST), wanted, most, self.MATCH)
        return int(str(self._sql.value(sql, tuple(values))))

    def _way(self, wanted: Selection, order: Order) -> listing.Way:
        """Return the shortest way by an index to the selected jobs, or one without sorting if none is short."""
        ways, few = listing.ways(wanted), listing.FEW
        sorted_ways = [way for way in ways if all(one.by_age for one in way)] if order is Order.NEWEST else []
        if wanted.q:
            self._check_index()
            found = self._sql.value(*listing.matches(wanted, self.MATCH, few + 1))
            if int(str(found)) <= few:
                return listing.by_words(wanted, self.MATCH)
            few = self.MATCH.most_tested
        elif not ways and wanted.metadata and order is Order.NEWEST:
            return listing.along_metadata(wanted)
        elif len(ways) == len(sorted_ways) == 1 and not wanted.metadata:
            return ways[0]
        lengths = [self._length(way, wanted) for way in ways]
        if ways and min(lengths) <= few:
            return ways[lengths.index(min(lengths))]
        if wanted.metadata and self._length(listing.along_metadata(wanted), wanted) <= few:
            return listing.by_metadata(wanted)
        if wanted.q and order is Order.NEWEST:
            return listing.along_words(wanted, self.MATCH)
        return sorted_ways[0] if sorted_ways else listing.walk(wanted, order)

    def _length(self, way: listing.Way, wanted: Selection) -> int:
        sql, values = listing.count(way, wanted, listing.FEW + 1)
        return int(str(self._sql.value(sql, tuple(values))))

    def running(self) -> list[Job]:
        """Return the running jobs, oldest start first."""
        sql = f"SELECT {COLUMNS} FROM jobs WHERE state IN ('loading', 'working') ORDER BY started_at, id"
        return self._readable(read_job, self._sql.rows(sql))

    def scheduled(self, limit: int, *, owner: str | None = None) -> list[Job]:
        """Return up to `limit` queued jobs with a start time in the future, the soonest first."""
        sql = f"""SELECT {COLUMNS} FROM jobs INDEXED BY jobs_to_wake WHERE state = 'queued' AND ready_at IS NOT NULL
                  AND owner = coalesce(?, owner) ORDER BY ready_at, id LIMIT ?"""
        return self._readable(read_job, self._sql.rows(sql, (owner, limit)))

    def shapes(self, job_id: str) -> list[Shape]:
        """Return a job's artifacts without their data, in order."""
        sql = "SELECT name, content_type, size FROM artifacts WHERE job_id = ? ORDER BY position"
        return [Shape(name=str(n), content_type=str(t), size=int(str(s))) for n, t, s in self._sql.rows(sql, (job_id,))]

    def events(self, *, after: int = 0, job_id: str | None = None, limit: int) -> list[JobEvent]:
        """Return up to `limit` events after the seq `after`, oldest first."""
        if job_id is None:
            return self._by_seq(read_event, f"{EVENTS} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (), after, limit)
        sql = f"{EVENTS} WHERE e.job_id = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"
        return self._by_seq(read_event, sql, (job_id,), after, limit)

    def deliveries(self, job_id: str, *, after: int = 0, limit: int | None = None) -> list[Delivery]:
        """Return up to `limit` of a job's deliveries after the seq `after`, oldest first."""
        sql = f"SELECT {DELIVERY} FROM deliveries WHERE job_id = ? AND seq > ? ORDER BY seq LIMIT ?"
        return self._by_seq(read_delivery, sql, (job_id,), after, limit)

    def owners_due(self) -> list[str]:
        """Return the owners with due deliveries."""
        return due.owners_due(self._sql)

    def receivers_due(self, owner: str, *, after: str = "", limit: int) -> list[Due]:
        """Return up to `limit` of an owner's receivers with due deliveries, by name."""
        return due.receivers_due(self._sql, owner, after, limit)

    def due(
        self, owner: str, receiver: str, *, now: Instant, besides: frozenset[int | str] = frozenset(), limit: int
    ) -> list[AnyDelivery]:
        """Return an owner's due deliveries to a receiver, earliest first."""
        return due.due(self._sql, self._readable, owner, receiver, now=now, besides=besides, limit=limit)

    def rank(self, job: Job, *, most: int) -> int:
        """Return the number of older claimable jobs in the same line, exact up to `most`."""
        sql = f"""SELECT count(*) FROM (SELECT 1 FROM {TO_CLAIM} WHERE {CLAIMABLE} AND {IN_LINE}
                  AND (since, id) < (?, ?) LIMIT ?) AS older"""
        line = job.key, job.priority, job.owner, job.caller
        return int(str(self._sql.value(sql, (*line, job.since, job.id, most))))

    def line(self, key: LoadKey, priority: int, caller: CallerKey, *, skip: int, limit: int) -> list[Job]:
        """Return claimable jobs of a line, the oldest first, after the first `skip`."""
        sql = f"""SELECT {COLUMNS} FROM {TO_CLAIM} WHERE {CLAIMABLE} AND {IN_LINE}
                  ORDER BY since, id LIMIT ? OFFSET ?"""
        return self._readable(read_job, self._sql.rows(sql, (key, priority, *caller, limit, skip)))

    def waiting(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Waiting]:
        """Return what the order depends on of claimable jobs of a line, the oldest first."""
        sql = f"SELECT {WAITING} FROM {TO_CLAIM} WHERE {CLAIMABLE} AND {IN_LINE} ORDER BY since, id LIMIT ?"
        return self._waiting(sql, (key, priority, *caller, limit))

    def alike(self, key: LoadKey, priority: int, caller: CallerKey, first: bytes, *, limit: int) -> list[Waiting]:
        """Return claimable jobs of a line whose paths begin with a hash, sorted by path."""
        sql = f"""SELECT {WAITING} FROM jobs INDEXED BY jobs_by_prefix WHERE {CLAIMABLE} AND {IN_LINE}
                  AND prefix >= ? AND prefix < ? ORDER BY prefix, since, id LIMIT ?"""
        return self._waiting(sql, (key, priority, *caller, first, first + LAST, limit))

    def _waiting(self, sql: str, values: tuple[object, ...]) -> list[Waiting]:
        rows = self._sql.rows(sql, values)
        return [
            Waiting(since, id, path or b"", most)
            for since, id, path, most in rows
            if isinstance(id, str) and isinstance(path, bytes | None)
        ]

    def usage(
        self,
        *,
        step: int,
        begin: int,
        end: int,
        by: str | None,
        limit: int,
        only: Mapping[str, str] = NO_FILTER,
        prices: Mapping[str, Price] = NO_PRICES,
    ) -> list[Row]:
        """Return the usage figures of the steps from `begin` up to `end`."""
        return usage.read(self._sql, step=step, begin=begin, end=end, by=by, limit=limit, only=only, prices=prices)

    def depths(self, *, step: int, begin: int, end: int) -> list[Depth]:
        """Return the depths of the queue from `begin` up to `end`."""
        return usage.read_depths(self._sql, step=step, begin=begin, end=end)

    def note(self, name: str) -> str | None:
        """Return the value of a note, or None when it is not set."""
        value = self._sql.value("SELECT value FROM notes WHERE name = ?", (name,))
        return str(value) if value is not None else None
