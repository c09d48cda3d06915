"""The protocol of storage engines; all engines pass the same conformance suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import (
    Artifact,
    CallerKey,
    Delivery,
    Draft,
    Instant,
    Job,
    JobEvent,
    LoadKey,
)
from foreman.domain.nodes import Node, NodeState, TargetReport
from foreman.domain.scheduling.choose import Head
from foreman.domain.scheduling.prefixes import Neighbour
from foreman.domain.scheduling.sequence import Waiting
from foreman.domain.usage import NO_FILTER, NO_PRICES, Depth, Figures, Price, Row, Slot
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.store.batch_protocol import BatchReader, BatchWriter
from foreman.store.endpoint_protocol import EndpointReader, EndpointWriter
from foreman.store.file_protocol import FileReader, FileWriter
from foreman.store.records import ALL, NO_ARTIFACTS, Cursor, Due, Line, News, Order, Remains, Selection, Seqs, Shape
from foreman.store.search_protocol import SearchReader, SearchWriter


class Reader(FileReader, BatchReader, EndpointReader, SearchReader, Protocol):
    """The reads. Each call sees one consistent state and holds no lock when it returns.

    Rows made unreadable by other programs are left out of lists and logged; a read of one job raises JobUnreadable.
    """

    def snapshot(self) -> AbstractContextManager[None]:
        """Run all reads inside on one consistent state. Never hold it over an await; the writer does not need it."""

    def job(self, job_id: str) -> Job | None:
        """Return a job, or None when there is none."""

    def jobs(
        self, wanted: Selection = ALL, *, order: Order = Order.NEWEST, after: Cursor | None = None, limit: int
    ) -> list[Job]:
        """Return up to `limit` of the selected jobs after a cursor, in order."""

    def count(self, wanted: Selection, *, most: int) -> int:
        """Return the number of selected jobs, exact up to `most`; unreadable ones count."""

    def running(self) -> list[Job]:
        """Return the running jobs, oldest start first."""

    def scheduled(self, limit: int, *, owner: str | None = None) -> list[Job]:
        """Return up to `limit` queued jobs, of one owner or all, with a start time in the future, the soonest first."""

    def shapes(self, job_id: str) -> list[Shape]:
        """Return a job's artifacts without their data, in order."""

    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return the size in bytes of an artifact, or without a name of the payload; None when there is none."""

    def content(self, job_id: str, name: str | None = None, *, begin: int = 0, size: int | None = None) -> bytes | None:
        """Return the bytes of an artifact, or without a name of the payload; None when there is none.

        With `begin` and `size` only that part is read.
        """

    def events(self, *, after: int = 0, job_id: str | None = None, limit: int) -> list[JobEvent]:
        """Return up to `limit` events after the seq `after`, oldest first."""

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""

    def deliveries(self, job_id: str, *, after: int = 0, limit: int | None = None) -> list[Delivery]:
        """Return up to `limit` of a job's deliveries after the seq `after`, oldest first."""

    def owners_due(self) -> list[str]:
        """Return the owners (names of tokens) with due deliveries."""

    def receivers_due(self, owner: str, *, after: str = "", limit: int) -> list[Due]:
        """Return up to `limit` of the owner's receivers with due deliveries, by name after `after`."""

    def due(
        self, owner: str, receiver: str, *, now: Instant, besides: frozenset[int | str] = frozenset(), limit: int
    ) -> list[AnyDelivery]:
        """Return the owner's due deliveries to the receiver, earliest first, without the keys in `besides`."""

    def rank(self, job: Job, *, most: int) -> int:
        """Return the number of older claimable jobs in the job's line, exact up to `most`."""

    def line(self, key: LoadKey, priority: int, caller: CallerKey, *, skip: int, limit: int) -> list[Job]:
        """Return up to `limit` claimable jobs of a line, the oldest first, after the first `skip`."""

    def waiting(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Waiting]:
        """Return what the order depends on of up to `limit` claimable jobs of a line, the oldest first."""

    def alike(self, key: LoadKey, priority: int, caller: CallerKey, first: bytes, *, limit: int) -> list[Waiting]:
        """Return up to `limit` claimable jobs of a line whose paths begin with a hash, sorted by path."""

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
        """Return up to `limit` rows of figures, by time, of the steps (in seconds) from `begin` up to `end`.

        Steps without activity have no row. With `by`, a field of Group, there is a row per name in each step. `only`
        are the names, by fields of Group, whose figures count. `prices` are those of models, for the rows' `cost`.
        """

    def depths(self, *, step: int, begin: int, end: int) -> list[Depth] | None:
        """Return the stored depths of the queue from `begin` up to `end`, and the next one after them.

        None for a reader that does not show all jobs, since depths are counted over all.
        """

    def note(self, name: str) -> str | None:
        """Return the value of a note, or None when it is not set."""

    def nodes(self) -> list[Node]:
        """Return the nodes that share the store, also those that have left of late; none where one node has it."""


class Writer(Reader, FileWriter, BatchWriter, EndpointWriter, SearchWriter, Protocol):
    """The single writer of a node. Every write happens inside `transaction()`, which one node at a time may have open.

    It decides nothing: it is given rows, and keeps those that belong together consistent by their foreign keys.
    """

    @property
    def looks_every(self) -> float | None:
        """Return the seconds between looks at what other nodes commit; None where there are none."""

    @property
    def coordinator(self) -> str:
        """Return the node that prunes and sends webhooks, as of the last transaction; empty if there is none.

        It is empty too where one node has the store.
        """

    def transaction(self, now: Instant = 0.0) -> AbstractContextManager[Instant]:
        """Run all writes inside in one transaction, which is on disk when it ends without raising.

        `now` is this node's time. What it yields is the time of the transaction: `now` where one node has the store,
        else the server's, so that the clocks of nodes need not agree.

        Raises:
            StoreFull: The disk is full; nothing was written.
            StoreBusy: Another program holds the lock; nothing was written.
            StoreAway: The database cannot be reached; nothing was written.
            StoreBroken: The state on disk is unknown.
        """

    # What only the writer asks.

    def news(self) -> News | None:
        """Return what other nodes have committed since the last call, or None when that is nothing.

        Within a transaction, or outside of one to follow the others while there is nothing to write.

        Raises:
            StoreAway: The database cannot be reached.
        """

    def with_payload(self, job_id: str) -> tuple[Job, bytes] | None:
        """Return a job and its payload, or None when there is none."""

    def recent(self, job_id: str) -> Job | None:
        """Return a claimable job if it is in memory as the store has it, None otherwise."""

    def by_idempotency_key(self, owner: str, key: str) -> tuple[Job, bytes] | None:
        """Return the job that `owner` submitted under `key` and the fingerprint of its body, or None."""

    def lines(self) -> list[Line]:
        """Return the lines with their stored numbers of jobs."""

    def heads(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Head]:
        """Return up to `limit` of the oldest claimable jobs of a line, readable or not, the oldest first."""

    def neighbours(self, key: LoadKey, priority: int, caller: CallerKey, path: bytes) -> list[Neighbour]:
        """Return the claimable jobs of a line whose prefixes are next to a path in byte order, up to one each side.

        Of several jobs with one prefix it is the oldest. A job with the very path counts as next to it.
        """

    def overdue(self, now: Instant, limit: int) -> list[Job | JobUnreadable]:
        """Return up to `limit` queued jobs past their `start_by`, or the error of an unreadable one."""

    def next_due(self) -> Instant | None:
        """Return the time at which `wake` or `overdue` next finds a job, or None."""

    def remains(self, job_id: str) -> Remains | None:
        """Return the readable parts of an unreadable job, or None unless it is queued."""

    # Rows of jobs and what belongs to them.

    def add(self, drafts: Sequence[Draft], jobs: Sequence[Job]) -> None:
        """Insert the jobs of the drafts, with their payloads and idempotency keys."""

    def put(self, jobs: Sequence[Job], artifacts: Mapping[str, Sequence[Artifact]] = NO_ARTIFACTS) -> None:
        """Write what changes in the rows of jobs, in order, and add the artifacts by job, given once, when it is done.

        A job may be given twice.
        """

    def log(self, events: Sequence[JobEvent]) -> None:
        """Append events to the log; their seqs continue those of the log."""

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries, new ones and changed ones."""

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Write the numbers of jobs of these lines; empty lines are removed."""

    def wake(self, now: Instant) -> list[Head]:
        """Make the queued jobs whose time has come claimable, and return them."""

    def set_aside(self, job_id: str, *, now: Instant, expires_at: Instant | None, error: str, code: str) -> None:
        """Write an unreadable job as failed."""

    def delete(self, job_ids: Sequence[str]) -> None:
        """Delete ended jobs with all that belongs to them."""

    def prune(self, now: Instant, limit: int) -> list[str]:
        """Delete up to `limit` expired jobs with all that belongs to them, and return their ids.

        `Seqs.pruned` then covers their events.
        """

    # The nodes that share the store.

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> None:
        """Write how this node is."""

    def evict(self, name: str) -> None:
        """Write that a node is gone. What it still commits is refused until it has joined again."""

    def coordinate(self) -> None:
        """Make this node the coordinator."""

    # Other rows.

    def add_usage(self, figures: Mapping[Slot, Figures], depths: Sequence[Depth]) -> None:
        """Add the figures to the stored ones, and raise the stored depths to these."""

    def prune_usage(self, *, minutes: int, hours: int) -> None:
        """Delete figures of minutes and hours that began before these times, a bounded number per call."""

    def set_note(self, name: str, value: str) -> None:
        """Set the value of a note."""

    def checkpoint(self) -> int:
        """Checkpoint the write-ahead log, release free pages, and return the log's size in bytes before.

        Never waits for readers: the log grows while another program reads.
        """


class Engine(Writer, Protocol):
    """A storage engine: its writer, from which its readers come."""

    def reader(self) -> Reader:
        """Return a reader with a connection of its own, which is closed with the store."""

    @property
    def secret(self) -> bytes | None:
        """Return what nodes sign requests to each other with, or None where one node has the store."""

    def log_size(self) -> int | None:
        """Return the size of the write-ahead log in bytes, or None where the server keeps it. Safe in any thread."""

    def is_away(self) -> bool:
        """Return True while the database's server cannot be reached. Safe in any thread."""

    def close(self) -> None:
        """Close all connections."""
