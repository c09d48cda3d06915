"""The rows of nodes: joining, the fence of a node's transactions, and leaving."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from foreman.domain.errors import StoreRefused, StoreUnavailable
from foreman.store.postgres.connection import TIMEOUTS, Connection, Statement

SILENCE = 20.0  # seconds after which a node that was not heard counts as gone

LOCK: Statement = ("SELECT commits, seq, posts FROM fleet_state FOR UPDATE", ())
# READ COMMITTED: each statement after the lock sees all that was committed before it.
BEGIN: tuple[Statement, ...] = (("BEGIN ISOLATION LEVEL READ COMMITTED", ()), TIMEOUTS)

_FENCE = """UPDATE nodes SET batch = ?, seen_at = clock_timestamp(),
    heard_since = CASE WHEN seen_at < clock_timestamp() - ? * interval '1 second' THEN clock_timestamp()
                       ELSE heard_since END
    WHERE number = ? AND epoch = ? AND batch = ? RETURNING CAST(extract(epoch FROM seen_at) AS double precision)"""


class Node(msgspec.Struct, frozen=True):
    """A Foreman that has the database."""

    id: str  # kept in its data folder
    name: str = ""
    version: str = ""
    url: str | None = None  # where others reach it


class Membership:
    """This node's row. Its epoch and the number of its latest batch are the fence of its transactions."""

    def __init__(self, connection: Connection, node: Node, shown: str) -> None:
        """Join the fleet. Raise StoreRefused while another Foreman is up."""
        self._connection = connection
        connection.begin(*BEGIN)
        try:
            _, others = connection.ask(
                LOCK,
                (
                    """SELECT name, CAST(extract(epoch FROM clock_timestamp() - seen_at) AS double precision) FROM nodes
                       WHERE id <> ? AND state = 'up' AND seen_at > clock_timestamp() - ? * interval '1 second'""",
                    (node.id, SILENCE),
                ),
            )
            for name, ago in others:
                raise StoreRefused(
                    f"another foreman ({name}, heard {ago:.0f} s ago) uses the database {shown}: stop it first, "
                    "since several on one database are not supported yet"
                )
            connection.run(
                "UPDATE nodes SET state = 'gone', epoch = epoch + 1 WHERE id <> ? AND state = 'up'", (node.id,)
            )
            [(self.number, self.epoch)] = connection.rows(
                """INSERT INTO nodes (id, name, url, version, epoch, batch, state, seen_at, heard_since)
                   VALUES (?, ?, ?, ?, 1, 0, 'up', clock_timestamp(), clock_timestamp())
                   ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url, version = excluded.version,
                       epoch = nodes.epoch + 1, batch = 0, state = 'up', seen_at = excluded.seen_at,
                       heard_since = excluded.heard_since
                   RETURNING number, epoch""",
                (node.id, node.name, node.url, node.version),
            )
            connection.commit(("UPDATE fleet_state SET coordinator = ?", (self.number,)))
        except BaseException:
            connection.rollback()
            raise
        self.batch = 0  # the last one known to be committed

    def fence(self) -> Statement:
        """Return the statement that counts the next batch and beats; without a row this node has been replaced."""
        return _FENCE, (self.batch + 1, SILENCE / 2, self.number, self.epoch, self.batch)

    def beat(self) -> None:
        """Say that this node is up, outside of a transaction."""
        self._connection.rows(
            "UPDATE nodes SET seen_at = clock_timestamp() WHERE number = ? AND epoch = ?", (self.number, self.epoch)
        )

    def marker(self) -> tuple[int, int]:
        """Return the epoch and the batch of this node's row, once no other transaction holds the write lock.

        Without the lock the row could be read before an earlier commit, whose answer was lost, has ended.
        """
        self._connection.begin(*BEGIN)
        try:
            _, [(epoch, batch)] = self._connection.ask(
                LOCK, ("SELECT epoch, batch FROM nodes WHERE number = ?", (self.number,))
            )
        finally:
            self._connection.rollback()
        return epoch, batch

    def leave(self) -> None:
        """Say that this node has gone, if the server can be reached."""
        with suppress(StoreUnavailable):
            self._connection.rows(
                "UPDATE nodes SET state = 'gone' WHERE number = ? AND epoch = ?", (self.number, self.epoch)
            )
