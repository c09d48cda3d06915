"""The SQLite store's single writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from foreman.domain.job import Instant
from foreman.domain.nodes import NodeState, TargetReport
from foreman.store.blob_folder import BLOBS, BlobFolder
from foreman.store.blobs import BlobStorage
from foreman.store.sql.search import OUTDATED
from foreman.store.sql.writes import SqlWriter
from foreman.store.sqlite.database import Database
from foreman.store.sqlite.reads import NEWEST, PRUNED, SqliteReader, SqliteStatements
from foreman.store.sqlite.search import SqliteSearchWrites, has_fts5


class SqliteWriter(SqliteSearchWrites, SqlWriter, SqliteReader):
    """The single writer. Raises StoreRefused."""

    looks_every = None
    coordinator = ""
    secret = None
    # A non-ASCII id is another program's, perhaps not even text.
    READABLE_ID: ClassVar[str] = "id NOT GLOB '*[^ -~]*'"

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.path = path
        self._db = self._database.connection
        super().__init__(SqliteStatements(self._db))
        self._folder = BlobFolder(path.parent / BLOBS)
        self.blobs: BlobStorage = self._folder
        self._version: object = None  # of the data, as `_recent` knows it
        self._looked = False  # True once the transaction has compared it
        self.can_index = has_fts5(self._db)
        if not self.can_index and self._indexes():
            with self.transaction():
                self._store(OUTDATED)  # to be made anew where FTS5 is there

    def reader(self) -> SqliteReader:
        """Return a reader with a connection of its own, which is closed with the store."""
        return SqliteReader(self._database.lend(), self._folder)

    def close(self) -> None:
        """Close all connections and free the lock of the data folder."""
        self._database.close()

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run all writes inside in one transaction."""
        self._looked = False
        try:
            with self._database.transaction():
                yield now
        except BaseException:
            self._forget()
            raise
        finally:
            self._name_blobs()

    def news(self) -> None:
        """Return None: no other node has this store."""

    def tell(self, targets: Sequence[TargetReport], state: NodeState) -> None:
        """Do nothing: no other node has this store."""

    def evict(self, name: str) -> None:
        """Do nothing: no other node has this store."""

    def coordinate(self) -> None:
        """Do nothing: no other node has this store."""

    def _is_ours(self) -> bool:
        """Return True unless another program has written since the last transaction that asked."""
        if not self._looked:
            version, self._version = self._version, self._sql.value("PRAGMA data_version")
            self._looked = True
            if version != self._version:
                self._recent.clear()
                return False
        return True

    def _mark_pruned(self, seq: int) -> None:
        self.set_note(PRUNED, str(max(self.seqs().pruned, seq)))

    def _remove(self, job_ids: Sequence[str]) -> None:
        newest = self.seqs().newest
        for job_id in job_ids:
            self._recent.drop(job_id)
        self._sql.run_each("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in job_ids])
        if self.seqs().newest < newest:  # its job is gone; the seq is not given again
            self.set_note(NEWEST, str(newest))

    def is_away(self) -> bool:
        """Return False: there is no server."""
        return False

    def log_size(self) -> int:
        """Return the size of the write-ahead log in bytes. Safe in any thread."""
        return self._database.log_size()

    def checkpoint(self) -> int:
        """Checkpoint the write-ahead log and return its size in bytes before."""
        return self._database.checkpoint()
