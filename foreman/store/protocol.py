"""What a storage engine must do; every engine runs through the same conformance suite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import Artifact, Delivery, Draft, Instant, Job, JobEvent, LoadKey, Priority, State
from foreman.domain.usage import NO_TOKENS, Depth, Row, Tokens
from foreman.store.sqlite.board import Board


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of one drain key and priority wait."""

    key: LoadKey
    priority: Priority
    ready: int
    parked: int  # waiting for a time to come


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact without its data."""

    name: str
    content_type: str
    size: int  # bytes


class Order(StrEnum):
    """The order of a list of jobs."""

    NEWEST = "newest"  # by id, the last submitted first
    ENDED = "ended"  # only those that have ended, the last one first


class Cursor(msgspec.Struct, frozen=True):
    """A place in a list of jobs: behind this one."""

    id: str
    ended: Instant = 0.0  # when it ended, in a list by end


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a list shows; every field that is given narrows it."""

    id: str | None = None  # all of it, its beginning or its end, in capitals
    custom_id: str | None = None  # with * at its end: what begins so
    states: tuple[State, ...] = ()  # one of them
    models: tuple[str, ...] = ()  # one of them is its model as submitted or by the server's own name
    priority: Priority | None = None
    endpoint: str | None = None
    error_code: str | None = None
    owner: str | None = None
    created_after: Instant | None = None  # then or later
    created_before: Instant | None = None


ALL = Selection()
ALL_OF_THEM = -1  # as a limit


class Due(NamedTuple):
    """A caller's receiver with deliveries still to be made."""

    receiver: str
    at: Instant  # when the first one is due
    failed: bool  # the first or the last one was tried before, and not answered or with 5xx


class Reader(Protocol):
    """Reads. Each call sees one consistent state and holds no lock when it returns.

    What other programs have made unreadable is left out of lists, and logged; a read of one job raises JobUnreadable.
    """

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads inside see the same state. Never held over an await; not for the writer, whose state is its own."""

    def job(self, job_id: str) -> Job | None: ...

    def payload(self, job_id: str) -> bytes | None: ...

    def with_payload(self, job_id: str) -> tuple[Job, bytes] | None: ...

    def jobs(
        self, wanted: Selection = ALL, *, order: Order = Order.NEWEST, after: Cursor | None = None, limit: int
    ) -> list[Job]:
        """Return up to `limit` of the jobs that are wanted, from a place on, in their order."""

    def running(self) -> list[Job]: ...

    def scheduled(self, limit: int, *, owner: str | None = None) -> list[Job]:
        """Return the queued jobs, of one owner or of all, that wait for a time to come, the soonest first."""

    def by_idempotency_key(self, owner: str, key: str) -> tuple[Job, bytes] | None:
        """Return the job that `owner` submitted under `key`, and the fingerprint of its body."""

    def shapes(self, job_id: str) -> list[Shape]: ...

    def artifact(self, job_id: str, name: str) -> Artifact | None: ...

    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return how many bytes an artifact has, or without a name the payload; None when there is no such thing."""

    def piece(self, job_id: str, name: str | None, begin: int, size: int) -> bytes | None:
        """Return up to `size` bytes of an artifact, or without a name of the payload, without reading all of it."""

    def events(self, *, after: int = 0, job_id: str | None = None, limit: int) -> list[JobEvent]:
        """The event log after `after`, oldest first."""

    def seqs(self) -> tuple[int, int]:
        """The oldest `seq` kept and the newest ever given; (newest + 1, newest) when none is kept."""

    def horizon(self) -> int:
        """The newest `seq` that pruning has removed; 0 when it never removed any."""

    def deliveries(self, job_id: str, *, after: int = 0, limit: int = ALL_OF_THEM) -> list[Delivery]:
        """Return a job's deliveries after the `seq` given, oldest first."""

    def delivery(self, job_id: str, seq: int) -> Delivery | None:
        """The delivery of one change of a job; None when there is none."""

    def callers_due(self) -> list[str]:
        """Return the callers (names of tokens) with a delivery still to be made."""

    def receivers_due(self, caller: str, *, after: str = "", limit: int) -> list[Due]:
        """Return up to `limit` of the caller's receivers with a delivery still to be made, by name after `after`."""

    def due(
        self, caller: str, receiver: str, *, now: Instant, besides: frozenset[int] = frozenset(), limit: int
    ) -> list[Delivery]:
        """Return what of the caller's is due to the receiver, earliest first, without the `seq`s in `besides`."""

    def event(self, seq: int) -> JobEvent | None: ...

    def lanes(self) -> list[Lane]: ...

    def board(self) -> Board:
        """Return the lanes in memory; it is the writer's, and changes with every commit."""

    def rank(self, job: Job, *, most: int) -> int:
        """Return how many claimable jobs of the job's own lane go before it; exact up to `most`."""

    def line(self, key: LoadKey, priority: int, *, skip: int, most: int) -> list[Job]:
        """Return claimable jobs of a lane in the order in which they would run, without the first `skip`."""

    def usage(
        self, *, step: int, begin: int, end: int, by: str | None, most: int, caller: str | None = None
    ) -> list[Row]:
        """Return the figures of the steps (in seconds) from `begin` up to `end` in which something happened.

        With `by`, one of Group's fields, a row for each of its names in each step; with `caller`, only what was that
        caller's. Up to `most` rows, by time.
        """

    def depths(self, *, step: int, begin: int, end: int) -> list[Depth] | None:
        """Return how deep the queue was from `begin` up to `end`, where that is stored, and the next one after them.

        None where not all jobs are told of: depths are counted of all together.
        """

    def note(self, name: str) -> str | None: ...


class Writer(Reader, Protocol):
    """The one writer. Every write happens inside `transaction()`."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, on disk when it ends without raising.

        Raises StoreFull when there is no room and StoreBusy when another program holds the lock (nothing was written),
        StoreBroken when nobody can know what was.
        """

    def add(self, drafts: Sequence[Draft], *, now: Instant) -> list[JobEvent]:
        """Insert jobs in state queued, each with its first change."""

    def put(self, job: Job, *, previous: State, now: Instant) -> JobEvent:
        """Write the job as it is after a change of state, and the change."""

    def begin(self, job: Job, *, now: Instant) -> list[JobEvent]:
        """Write a job that was queued and is working now, with both changes: its model is loaded already."""

    def keep(self, job_id: str, artifacts: Iterable[Artifact]) -> None:
        """Store the artifacts of a job that is done: once, since nothing follows that state."""

    def delete(self, job_ids: Sequence[str], *, pruning: bool = False) -> None:
        """Remove terminal jobs and all that hangs on them. Pruning moves the horizon."""

    def wake(self, now: Instant) -> int:
        """Make claimable the queued jobs whose time has come; how many."""

    def overdue(self, now: Instant, limit: int) -> list[Job | JobUnreadable]:
        """Queued jobs whose `start_by` has passed; for one that cannot be read, why not."""

    def set_aside(self, error: JobUnreadable, *, now: Instant, expires_at: Instant | None) -> JobEvent | None:
        """Fail a job that cannot be read, if it is queued, so that the others go on."""

    def next_due(self) -> Instant | None:
        """When `wake` or `overdue` will next find something."""

    def used(self, job: Job, *, tokens: Tokens = NO_TOKENS, loads: int = 0, now: Instant) -> None:
        """Count what an attempt took; what becomes of jobs is counted by itself."""

    def sample(self, now: Instant) -> None:
        """Keep how many jobs run: to be called every minute, since long runs change nothing."""

    def prune_usage(self, *, minutes: int, hours: int) -> None:
        """Remove figures of minutes and hours that began before these times; a bounded part of them at a time."""

    def settle(self, delivery: Delivery) -> None:
        """Write how an attempt to deliver ended."""

    def stop_deliveries(self, job_id: str, *, now: Instant) -> None:
        """Make no further delivery of this job, nor of its changes to come."""

    def prunable(self, now: Instant, limit: int) -> list[str]: ...

    def set_note(self, name: str, value: str) -> None: ...

    def checkpoint(self) -> int:
        """Fold the log into the database and return free pages to the file system; the log's size in bytes before.

        Never waits for readers: while one of another program reads, the log grows.
        """
