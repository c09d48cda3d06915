"""One database server for several nodes, and each node's way to it, with all that may befall it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from foreman.domain.errors import StoreAway
from foreman.domain.job import Instant
from foreman.domain.nodes import Node, NodeState
from foreman.domain.scheduling.breaker import Breakers
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.queue.handlers.ledger import Ledger
from foreman.store.sqlite.reads import SqliteReader
from tests.simulation.witness import Book, PowerCut, WatchedStore
from tests.support.shared import NodeStore, Roll

LOOKS = 0.5  # seconds between a node's looks at what the others have committed: ten a second would only take longer
TRIES = 40  # transactions in a second that fail because the server is away


class Server:
    """The database server. Its clock is that of all transactions."""

    def __init__(self, path: Path, book: Book, clock: Callable[[], Instant]) -> None:
        self.store = WatchedStore(path, book)
        self.store.clock = clock
        self.book = book
        self.clock = clock
        self.roll = Roll()
        self.away = 0  # troubles because of which nobody reaches it
        self.may_evict: Callable[[str], None] = lambda name: None

    def serve(self, store: SharedStore) -> None:
        """Have the witness judge what is to come by what this node knows."""
        witness = self.store
        witness.rests, witness.state = store.rests, store.state
        witness.breakers, witness.serving = store.breakers, store.serving


class SharedStore(NodeStore):
    """A node's writer, as PostgreSQL's engine is one: a commit whose answer is lost is settled before it returns."""

    secret = b"the secret of the nodes"
    looks_every = LOOKS

    def __init__(self, server: Server, name: str, cut_off: Callable[[], bool]) -> None:
        """Join; the server must be there. `cut_off` returns True while it cannot be reached from here."""
        self._server = server
        self._cut_off = cut_off
        self.lost = 0  # waits for a connection
        self.fuse: Literal["before", "after"] | None = None  # when the next commit that writes ends the process
        self.doubt: tuple[bool, float] | None = None  # of the next commit: if it is stored, for how long
        self.hangs = 0.0  # seconds for which the writer now waits for the server
        self.rests: Callable[[str], bool] = lambda _: False
        self.breakers: Callable[[str], Breakers] = lambda _: {}
        self.serving: Callable[[str], Collection[str]] = lambda _: ()
        self.state: Callable[[], SchedulerState] = SchedulerState
        self.ledger: Ledger | None = None  # whose caches must be what is stored
        self._tries, self._tries_until = 0, 0.0
        self._mine: list[SqliteReader] = []
        super().__init__(server.store, name, server.roll, 0.0, url=f"http://{name}")

    def is_away(self) -> bool:
        """Return True while the server cannot be reached from here."""
        return self._server.away > 0 or self.lost > 0 or self._cut_off()

    def _at(self, now: Instant) -> Instant:
        return self._server.clock()

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run the writes in a transaction, which one node at a time has."""
        self._server.serve(self)
        self._wrote = False
        self._count()
        with super().transaction(now) as at:
            yield at
            self._compare()
        if self._wrote and self.fuse == "after":
            raise PowerCut
        if self._wrote and self.doubt is not None:
            _, self.hangs = self.doubt
            self.doubt = None

    def _count(self) -> None:
        """A writer that cannot reach the server does not try it all the time."""
        if not self.is_away() or self._server.clock() >= self._tries_until:
            self._tries, self._tries_until = 0, self._server.clock() + 1.0
        self._tries += 1
        if self._tries == TRIES:
            self._server.book.complain(f"{self._name} tries {TRIES} times in a second to reach a server that is away")

    def _may_fail(self, wrote: bool) -> None:
        self._wrote = wrote
        if wrote and self.fuse == "before":
            raise PowerCut
        if wrote and self.doubt is not None and not self.doubt[0]:
            _, self.hangs = self.doubt
            self.doubt = None
            raise StoreAway("the connection was lost, and the commit with it")

    def _compare(self) -> None:
        """What a node decides by is what is stored."""
        if self.ledger is None:
            return
        held = {job.id: (job.state, job.fence, job.target) for job in self.ledger.running.values()}
        stored = {job.id: (job.state, job.fence, job.target) for job in self._store.running()}
        if held != stored:
            self._server.book.complain(f"{self._name} holds {held} to run, stored are {stored}")
        waiting = self._store._sql.value("SELECT coalesce(sum(ready + parked), 0) FROM lines")
        queued = self._store._sql.value("SELECT count(*) FROM jobs WHERE state = 'queued'")
        if queued != waiting:
            self._server.book.complain(f"{self._name} has stored that {waiting} jobs wait, {queued} do")
        if self.ledger.outlook.board.waiting != waiting:
            self._server.book.complain(f"{self._name} has {self.ledger.outlook.board.waiting} waiting, not {waiting}")

    def evict(self, name: str) -> None:
        """Write that a node is gone, if nobody has heard of it."""
        self._server.may_evict(name)
        super().evict(name)

    def reader(self) -> Reading:
        """Return a reader of this node."""
        reader = self._server.store.reader()
        self._mine.append(reader)
        return Reading(reader, self)

    def close(self) -> None:
        """Close the readers: the process has ended."""
        for reader in self._mine:
            reader._db.close()

    def leave(self) -> None:
        """Close as a process does that ends in order: it says so, if it can."""
        own = self._own
        if not self.is_away() and own.epoch == self._epoch and own.state is not NodeState.GONE:
            self._roll.change(replace(own, state=NodeState.GONE))

    def log_size(self) -> None:
        """Return None: the server keeps its own log."""

    def checkpoint(self) -> int:
        """Return 0: the server keeps its own log."""
        return 0


class Reading:
    """A node's reader, which reaches the server as its writer does."""

    def __init__(self, reader: SqliteReader, store: SharedStore) -> None:
        self._reader = reader
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state."""
        if self._store.is_away():
            raise StoreAway("it cannot be reached")
        with self._reader.snapshot():
            yield

    def nodes(self) -> list[Node]:
        """Return all nodes."""
        return self._store.nodes()
