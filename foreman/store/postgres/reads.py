"""The reads of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from foreman.domain.nodes import Node
from foreman.store.blob_folder import BlobFolder
from foreman.store.postgres.connection import TIMEOUTS, Connection
from foreman.store.postgres.nodes import NODES, read_node
from foreman.store.postgres.search import PostgresSearchReads
from foreman.store.records import Seqs
from foreman.store.sql.reads import SqlReader

MOST_BYTES = 2**31 - 1  # of a value, which ends before


class PostgresReader(PostgresSearchReads, SqlReader):
    """A reader on one connection."""

    NO_LIMIT: ClassVar[int | None] = None

    def __init__(self, connection: Connection, folder: BlobFolder | None = None) -> None:
        super().__init__(connection)
        self._connection = connection
        self._folder = folder

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Run all reads inside on one consistent state."""
        self._connection.begin(("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ()), TIMEOUTS)
        try:
            yield
        finally:
            self._connection.rollback()

    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return the size of an artifact or payload in bytes, or None when there is none."""
        if name is None:
            found = self._sql.rows("SELECT length(body) FROM payloads WHERE job_id = ?", (job_id,))
        else:
            found = self._sql.rows("SELECT size FROM artifacts WHERE job_id = ? AND name = ?", (job_id, name))
        return found[0][0] if found else None

    def content(self, job_id: str, name: str | None = None, *, begin: int = 0, size: int | None = None) -> bytes | None:
        """Return the bytes of an artifact or payload, or a part of them."""
        column, table, named = ("body", "payloads", "") if name is None else ("data", "artifacts", " AND name = ?")
        part = f"substr({column}, CAST(? AS integer), CAST(? AS integer))"
        blob = "NULL, 0" if name is None else "blob, size"
        found = self._sql.rows(
            f"SELECT {part}, {blob} FROM {table} WHERE job_id = ?{named} LIMIT 1",
            (begin + 1, MOST_BYTES if size is None else size, job_id, *([] if name is None else [name])),
        )
        if found and found[0][1] is not None:
            return self.blob_content(found[0][1], begin, found[0][2] if size is None else size)
        return bytes(found[0][0]) if found else None

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""
        [(newest, pruned)] = self._sql.rows("SELECT seq, pruned FROM fleet_state")
        return Seqs(newest, pruned)

    def nodes(self) -> list[Node]:
        """Return the nodes that share the store, also those that have left of late."""
        return [read_node(row) for row in self._sql.rows(*NODES)]
