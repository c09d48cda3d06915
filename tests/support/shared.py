"""Several nodes over one SQLite store, which stands for a database server: each sees what the others commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from foreman.domain.errors import StoreAway
from foreman.domain.job import TERMINAL, Instant, JobEvent
from foreman.domain.nodes import Node, NodeState, TargetReport
from foreman.store.records import PAUSED, Line, News
from foreman.store.sqlite.writer import SqliteWriter

PAUSE = 10.0  # seconds without a commit after which a node does not count as heard all the time


class Roll:
    """What the server has of the nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.coordinator = ""
        self.changes = 0


class NodeStore:
    """One node's writer of a store that others share. Its server has a clock of its own, and may be away."""

    looks_every = 0.1

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
        self._store = store
        self._url = url
        self._name = name
        self._roll = roll
        self._ahead = ahead
        self._join(now + ahead)
        self._lines: dict[tuple[object, ...], Line] = {}
        self.away = False
        self.cut = False  # True to have the server go away once it has the next commit
        self._seen = 0
        self._see()

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreAway("a test has it so")
        return getattr(self._store, name)

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run the writes in a transaction."""
        self._check()
        with self._store.transaction(now + self._ahead) as at:
            if self._own.state is NodeState.GONE:
                self._join(at)
            kept = self._own.heard_since if at - self._own.seen_at < PAUSE else at
            self._write(replace(self._own, seen_at=at, heard_since=kept), news=False)
            yield at
        if self.cut:
            self.cut, self.away = False, True
            raise StoreAway("the answer to the commit is lost")
        self._see()

    def news(self) -> News | None:
        """Return what changed since the last look."""
        self._check()
        lines, newest = self._now(), self._store.seqs().newest
        changed = {key: line for key, line in lines.items() if self._lines.get(key) != line}
        empty = {key: line for key, line in self._lines.items() if key not in lines}
        paused = self._store.note(PAUSED) == "true"
        told = self._roll.changes != self._told
        if not changed and not empty and newest == self._seen and paused == self._paused and not told:
            return None
        events = self._events()
        found_jobs = (self._store.job(event.job_id) for event in events)
        jobs = {job.id: job for job in found_jobs if job and job.state not in TERMINAL}
        found = []
        for line in changed.values():
            heads = self._store.heads(line.key, int(line.priority), line.caller, limit=1)
            found.append((line, heads[0] if heads else None))
        found += [
            (Line(key=one.key, priority=one.priority, caller=one.caller, ready=0, parked=0), None)
            for one in empty.values()
        ]
        self._see()
        return News(
            newest=newest,
            events=events,
            jobs=jobs,
            lines=found,
            paused=paused,
            posted=any(one.posted for one in events),
            nodes=self.nodes() if told else None,
        )

    @property
    def coordinator(self) -> str:
        """Return the coordinator's name."""
        return self._roll.coordinator

    def nodes(self) -> list[Node]:
        """Return all nodes."""
        return list(self._roll.nodes.values())

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> None:
        """Write how this node is."""
        self._write(replace(self._own, targets=tuple(targets), state=state), news=True)

    def evict(self, name: str) -> None:
        """Write that a node is gone."""
        gone = self._roll.nodes[name]
        self._write(replace(gone, state=NodeState.GONE, epoch=gone.epoch + 1), news=True)

    def coordinate(self) -> None:
        """Make this node the coordinator."""
        self._roll.coordinator = self._name

    @property
    def _own(self) -> Node:
        return self._roll.nodes[self._name]

    def _join(self, now: Instant) -> None:
        known = self._roll.nodes.get(self._name)
        epoch = known.epoch + 1 if known else 1
        up = NodeState.UP
        node = Node(name=self._name, url=self._url, version="1", epoch=epoch, state=up, seen_at=now, heard_since=now)
        self._write(node, news=True)

    def _write(self, node: Node, *, news: bool) -> None:
        self._roll.nodes[node.name] = node
        self._roll.changes += news

    def _check(self) -> None:
        if self.away:
            raise StoreAway("a test has it so")

    def _events(self) -> list[JobEvent]:
        return self._store.events(after=self._seen, limit=100_000)

    def _now(self) -> dict[tuple[object, ...], Line]:
        return {(line.key, line.priority, line.caller): line for line in self._store.lines()}

    def _see(self) -> None:
        self._lines, self._seen = self._now(), self._store.seqs().newest
        self._paused = self._store.note(PAUSED) == "true"
        self._told = self._roll.changes
