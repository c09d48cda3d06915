"""The rows of nodes: joining, the fence of a node's transactions, and leaving."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from foreman.domain.errors import StoreBroken, StoreRefused, StoreUnavailable
from foreman.domain.job import Instant
from foreman.domain.nodes import Node, NodeState, TargetReport
from foreman.store.postgres import migrate
from foreman.store.postgres.connection import TIMEOUTS, Connection, ConnectionLost, Statement

SILENCE = 20.0  # seconds after which a node that was not heard does not keep its name from another
PAUSE = 10.0  # seconds without a transaction after which a node does not count as heard all the time

# A transaction finds few rows, by their indexes: the planner would scan a table that was small when it last looked, and
# is not any more. It takes such plans for costly ones, which jit is for.
_BY_INDEX = ", ".join(
    f"set_config('{name}', 'off', true)" for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
# READ COMMITTED: each statement after the lock sees all that was committed before it.
BEGIN: tuple[Statement, ...] = (
    ("BEGIN ISOLATION LEVEL READ COMMITTED", ()),
    (f"{TIMEOUTS[0]}, {_BY_INDEX}", ()),
)
LOCK: Statement = ("SELECT commits, seq, posts, told, coordinator, full_text FROM fleet_state FOR UPDATE", ())
NODES: Statement = (
    "SELECT name, url, version, epoch, state, seen_at, heard_since, targets FROM nodes ORDER BY name",
    (),
)
NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"

_FENCE = f"""UPDATE nodes SET batch = ?, seen_at = {NOW},
    heard_since = CASE WHEN seen_at < {NOW} - ? THEN {NOW} ELSE heard_since END
    WHERE name = ? AND epoch = ? AND batch = ? RETURNING seen_at"""
_JOIN = f"""INSERT INTO nodes (name, id, url, version, schema, epoch, batch, state, seen_at, heard_since, targets)
    VALUES (?, ?, ?, ?, ?, 1, ?, 'up', {NOW}, {NOW}, '[]')
    ON CONFLICT (name) DO UPDATE SET id = excluded.id, url = excluded.url, version = excluded.version,
        schema = excluded.schema,
        epoch = nodes.epoch + 1, batch = excluded.batch, state = 'up', seen_at = excluded.seen_at,
        heard_since = excluded.heard_since
    RETURNING epoch, seen_at"""
_UP = f"SELECT {NOW} - seen_at FROM nodes WHERE name = ? AND id <> ? AND state <> 'gone' AND seen_at > {NOW} - ?"
_TOLD = "UPDATE fleet_state SET told = told + 1"

_targets = msgspec.json.Decoder(tuple[TargetReport, ...])


class Identity(msgspec.Struct, frozen=True):
    """What tells a Foreman from others that have the same database."""

    id: str  # kept in its data folder
    name: str  # unique among them
    version: str = ""
    url: str | None = None  # where others reach it


class Membership:
    """This node's row. Its epoch and the number of its latest batch are the fence of its transactions."""

    def __init__(self, connection: Connection, identity: Identity, shown: str) -> None:
        """Join. Raise StoreRefused while another Foreman has the name."""
        self._connection = connection
        self._identity = identity
        self._shown = shown
        self._told: tuple[Sequence[TargetReport], NodeState] | None = None
        self.epoch = self.batch = 0  # `batch`: the last one known to be committed
        connection.begin(*BEGIN)
        try:
            _, others = connection.ask(LOCK, (_UP, (identity.name, identity.id, SILENCE)))
            for (ago,) in others:
                raise StoreRefused(
                    f"another foreman, heard {ago:.0f} s ago, is the node {identity.name} of the database {shown}: "
                    "stop it, or give this one another node_name"
                )
            self._join(batch=0)
            connection.commit()
        except (Exception, ConnectionLost):
            connection.rollback()
            raise

    def fence(self) -> Statement:
        """Return the statement that counts the next batch; without a row this node was evicted or replaced."""
        return _FENCE, (self.batch + 1, PAUSE, self._identity.name, self.epoch, self.batch)

    def join_again(self) -> Instant:
        """Join after an eviction, within a transaction, and return the server's time.

        Raises:
            StoreBroken: Another process has taken this node's place, or the tables are too new by now.
        """
        [(state,)] = self._connection.rows("SELECT state FROM nodes WHERE name = ?", (self._identity.name,))
        if state != NodeState.GONE:
            raise self.replaced()
        return self._join(batch=1)

    def replaced(self) -> StoreBroken:
        """Return the error of a node whose place another process has taken."""
        return StoreBroken(f"another foreman has taken this node's place in the database {self._shown}")

    def has_committed(self, batch: int) -> bool:
        """Return True if a batch was committed whose answer was lost.

        It takes the write lock: without it the row could be read before that commit has ended.

        Raises:
            StoreAway: The server cannot be reached.
            StoreBroken: Another process has taken this node's place.
        """
        self._connection.begin(*BEGIN)
        try:
            mine = ("SELECT epoch, batch, state FROM nodes WHERE name = ?", (self._identity.name,))
            _, [(epoch, newest, state)] = self._connection.ask(LOCK, mine)
        finally:
            self._connection.rollback()
        if epoch < self.epoch:  # it joined with this batch
            return False
        if epoch > self.epoch + (state == NodeState.GONE):  # an eviction leaves the batch as it was
            raise self.replaced()
        return bool(newest == batch)

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> bool:
        """Write how this node is; return True if that is news to the others."""
        told = tuple(targets), state
        sql = "UPDATE nodes SET targets = ?, state = ? WHERE name = ?"
        self._connection.run(sql, (msgspec.json.encode(told[0]).decode(), state, self._identity.name))
        if told == self._told:
            return False
        self.announce()
        self._told = told
        return True

    def announce(self) -> None:
        """Have the other nodes look at the nodes, and at what runs."""
        self._connection.run(_TOLD)

    def forget(self) -> None:
        """Tell all again: a transaction was rolled back."""
        self._told = None

    def evict(self, name: str) -> None:
        """Write that a node is gone; its next fence fails."""
        self._connection.run("UPDATE nodes SET state = 'gone', epoch = epoch + 1 WHERE name = ?", (name,))
        self.announce()

    def leave(self) -> None:
        """Write that this node has gone, if the server can be reached."""
        sql = "UPDATE nodes SET state = 'gone' WHERE name = ? AND epoch = ?"
        with suppress(StoreUnavailable):
            self._connection.rows(sql, self._key)

    @property
    def _key(self) -> tuple[str, int]:
        return self._identity.name, self.epoch

    def _join(self, *, batch: int) -> Instant:
        own = self._identity
        [(needs,)] = self._connection.rows("SELECT needs FROM fleet_state")
        if needs > (knows := migrate.newest()):
            why = (
                f"the tables of {self._shown} are by now too new for this foreman, which knows {knows} and not {needs}"
            )
            raise StoreBroken(f"{why}: install a newer one")
        values = own.name, own.id, own.url, own.version, knows, batch
        [(self.epoch, at)] = self._connection.rows(_JOIN, values)
        self.announce()
        self.batch, self._told = 0, None
        return float(at)


def read_node(row: tuple[Any, ...]) -> Node:
    """Return a row of NODES as a Node."""
    name, url, version, epoch, state, seen_at, heard_since, targets = row
    return Node(
        name=name,
        url=url,
        version=version,
        epoch=epoch,
        state=NodeState(state),
        seen_at=seen_at,
        heard_since=heard_since,
        targets=_targets.decode(targets),
    )
