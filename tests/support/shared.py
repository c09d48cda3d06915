"""Several nodes over one SQLite store, which stands for a database server: each sees what the others commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from msgspec.structs import replace

from foreman.domain.errors import StoreAway
from foreman.domain.job import TERMINAL, Delivery, DeliveryState, Instant, JobEvent, LoadKey, Priority
from foreman.domain.nodes import Node, NodeState, TargetReport
from foreman.domain.scheduling.choose import Head
from foreman.store.records import PAUSED, Line, News
from foreman.store.sql.writes import LINE
from foreman.store.sqlite.writer import SqliteWriter

_Key: TypeAlias = tuple[LoadKey, int, str, str]

PAUSE = 10.0  # seconds without a commit after which a node does not count as heard all the time


class Roll:
    """What the server has of the nodes, besides the tables."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.coordinator = ""
        self.changes = 0  # of what nodes tell
        self.commits = 0  # that have written anything
        self.posts = 0  # commits with due deliveries
        self.lines: dict[_Key, int] = {}  # the commit that has changed each line last

    def keep(self) -> tuple[object, ...]:
        """Return what `restore` takes."""
        return dict(self.nodes), self.coordinator, self.changes, self.commits, self.posts

    def change(self, node: Node) -> None:
        """Have a node be like this."""
        self.nodes[node.name] = node
        self.changes += 1
        self.commits += 1

    def restore(self, kept: tuple[Any, ...]) -> None:
        """Undo all changes since `keep`: the transaction was rolled back."""
        self.nodes, self.coordinator, self.changes, self.commits, self.posts = kept


class NodeStore:
    """One node's writer of a store that others share. Its server has a clock of its own, and may be away."""

    looks_every: float | None = 0.1

    def __init__(
        self,
        store: SqliteWriter,
        name: str,
        roll: Roll,
        now: Instant,
        *,
        ahead: float = 0.0,
        url: str | None = None,
    ) -> None:
        """Join; `ahead` is by how many seconds the server's clock is ahead of the node's."""
        self.away = False
        self._store = store
        self._url = url
        self._name = name
        self._roll = roll
        self.ahead = ahead
        self._join(self._at(now))
        roll.commits += 1
        self._put: list[_Key] = []  # the lines that the transaction has changed
        self.cut = False  # True to have the server go away once it has the next commit
        self._posted = False  # by the transaction
        self._seen = 0
        self._see()

    def __getattr__(self, name: str) -> Any:
        self._check()
        return getattr(self._store, name)

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run the writes in a transaction."""
        self._check()
        kept, written, self._posted = self._roll.keep(), self._store._db.total_changes, False
        self._put = []
        try:
            with self._store.transaction(self._at(now)) as at:
                if self._own.epoch != self._epoch:  # it was evicted
                    self._join(at)
                since = self._own.heard_since if at - self._own.seen_at < PAUSE else at
                self._write(replace(self._own, seen_at=at, heard_since=since), news=False)
                self.coordinator = self._roll.coordinator
                yield at
                self._may_fail(self._store._db.total_changes != written)
        except BaseException:
            self._roll.restore(kept)
            raise
        self._roll.commits += self._store._db.total_changes != written or self._roll.changes != kept[2]
        self._roll.posts += self._posted
        self._roll.lines |= dict.fromkeys(self._put, self._roll.commits)
        if self.cut:
            self.cut, self.away = False, True
            raise StoreAway("the answer to the commit is lost")
        self._see()

    def _at(self, now: Instant) -> Instant:
        """Return the server's time."""
        return now + self.ahead

    def _may_fail(self, wrote: bool) -> None:
        """Raise what befalls the transaction before its commit."""

    def is_away(self) -> bool:
        """Return True while the server cannot be reached."""
        return self.away

    def news(self) -> News | None:
        """Return what changed since the last look."""
        self._check()
        self.coordinator = self._roll.coordinator
        if self._roll.commits == self._commits:
            return None
        lines = self._now()
        changed = {key: lines.get(key, (0, 0)) for key, at in self._roll.lines.items() if at > self._commits}
        told, posted = self._roll.changes != self._told, self._roll.posts != self._posts
        events = self._events()
        found_jobs = (self._store.job(event.job_id) for event in events)
        jobs = {job.id: job for job in found_jobs if job and job.state not in TERMINAL}
        found = [self._line(*key, *numbers) for key, numbers in changed.items()]
        self._see()
        return News(
            newest=self._seen,
            events=events,
            jobs=jobs,
            lines=found,
            paused=self._store.note(PAUSED) == "true",
            posted=posted,
            nodes=self.nodes() if told else None,
        )

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Write the numbers of jobs of these lines."""
        self._store.put_lines(lines)
        self._put += [(one.key, int(one.priority), *one.caller) for one in lines]

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; due ones are news to the coordinator."""
        self._store.put_deliveries(deliveries)
        self._posted |= any(one.state is DeliveryState.DUE for one in deliveries)
        self._roll.changes += any(one.state is DeliveryState.STOPPED for one in deliveries)

    def nodes(self) -> list[Node]:
        """Return all nodes."""
        return list(self._roll.nodes.values())

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> None:
        """Write how this node is."""
        told = replace(self._own, targets=tuple(targets), state=state)
        self._write(told, news=(told.targets, told.state) != (self._own.targets, self._own.state))

    def evict(self, name: str) -> None:
        """Write that a node is gone."""
        gone = self._roll.nodes[name]
        self._write(replace(gone, state=NodeState.GONE, epoch=gone.epoch + 1), news=True)

    def coordinate(self) -> None:
        """Make this node the coordinator."""
        self._roll.coordinator = self.coordinator = self._name

    @property
    def _own(self) -> Node:
        return self._roll.nodes[self._name]

    def _join(self, now: Instant) -> None:
        known = self._roll.nodes.get(self._name)
        self._epoch = known.epoch + 1 if known else 1
        self._write(
            Node(
                name=self._name,
                url=self._url,
                version="1",
                epoch=self._epoch,
                state=NodeState.UP,
                seen_at=now,
                heard_since=now,
                targets=known.targets if known else (),
            ),
            news=True,
        )

    def _write(self, node: Node, *, news: bool) -> None:
        self._roll.nodes[node.name] = node
        self._roll.changes += news

    def _check(self) -> None:
        if self.is_away():
            raise StoreAway("a test has it so")

    def _events(self) -> list[JobEvent]:
        return self._store.events(after=self._seen, limit=100_000)

    def _now(self) -> dict[_Key, tuple[int, int]]:
        rows = self._store._sql.rows(f"SELECT {LINE}, ready, parked FROM lines", ())
        return {row[:4]: row[4:] for row in rows}

    def _line(
        self, key: LoadKey, priority: int, owner: str, caller: str, ready: int, parked: int
    ) -> tuple[Line, Head | None]:
        line = Line(key=key, priority=Priority(priority), caller=(owner, caller), ready=ready, parked=parked)
        heads = self._store.heads(key, priority, line.caller, limit=1) if ready else []
        return line, heads[0] if heads else None

    def _see(self) -> None:
        roll = self._roll
        self._seen = self._store.seqs().newest
        self._told, self._commits, self._posts = roll.changes, roll.commits, roll.posts
        self.coordinator = roll.coordinator
