"""The reads of the SQLite store, shared by the writer's and the readers' connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar

from foreman.domain.nodes import Node
from foreman.store.blob_folder import BlobFolder
from foreman.store.records import Seqs
from foreman.store.sql.reads import SqlReader
from foreman.store.sql.rows import insertion, text
from foreman.store.sqlite.error_codes import translate
from foreman.store.sqlite.search import SqliteSearchReads

PRUNED = "horizon"  # the note with the newest pruned seq
NEWEST = "newest_event"  # the note with the newest seq when its job was deleted
FIRST = 8  # artifacts of a job that are not in the index by name
ROWS_AT_ONCE = 50  # rows per statement


class SqliteStatements:
    """A connection to the database file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.run, self.run_each = db.execute, db.executemany

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            known = translate(error)
            if known is not error:
                raise known from error
            if "decode to UTF-8" not in str(error):
                raise
        self._db.text_factory = text
        try:
            return self._db.execute(sql, values).fetchall()
        finally:
            self._db.text_factory = str

    def value(self, sql: str, values: Sequence[object] = ()) -> object:
        """Return the first value of the first row, or None."""
        row = self.rows(sql, values)
        return row[0][0] if row else None

    def insert(self, table: str, columns: str, rows: Sequence[tuple[object, ...]], otherwise: str = "") -> None:
        """Insert rows in order, many per statement; `otherwise` is an ON CONFLICT clause.

        Every execution of a statement releases the interpreter's lock, and taking it back from a busy event loop may
        last 5 ms: a thousand single inserts could take seconds.
        """
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            self._db.execute(insertion(table, columns, len(some), otherwise), tuple(chain.from_iterable(some)))


class SqliteReader(SqliteSearchReads, SqlReader):
    """A reader on one connection."""

    NO_LIMIT: ClassVar[int | None] = -1

    def __init__(self, db: sqlite3.Connection, folder: BlobFolder | None = None) -> None:
        super().__init__(SqliteStatements(db))
        self._db = db
        self._folder = folder

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Run all reads inside on one consistent state."""
        try:
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            known = translate(error)
            if known is error:
                raise
            raise known from error

    def nodes(self) -> list[Node]:
        """Return none: one node has this store."""
        return []

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""
        stored, pruned = self._sql.value("SELECT max(seq) FROM events"), self._seq(PRUNED)
        return Seqs(max(int(str(stored or 0)), pruned, self._seq(NEWEST)), pruned)

    def _seq(self, note: str) -> int:
        value = self.note(note) or "0"
        return int(value) if value.isdecimal() else 0  # another program may have changed it

    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return the size of an artifact or payload in bytes, or None when there is none."""
        found = self._place(job_id, name)
        return None if found is None else found[1]

    def content(self, job_id: str, name: str | None = None, *, begin: int = 0, size: int | None = None) -> bytes | None:
        """Return the bytes of an artifact or payload, or a part of them."""
        if (found := self._place(job_id, name)) is None:
            return None
        if found[2] is not None:
            return self.blob_content(found[2], begin, found[1] if size is None else size)
        table, column = ("payloads", "body") if name is None else ("artifacts", "data")
        try:
            with self._db.blobopen(table, column, found[0], readonly=True) as blob:
                blob.seek(begin)
                return blob.read(-1 if size is None else size)
        except sqlite3.Error as error:
            known = translate(error)
            if known is error:
                raise
            raise known from error

    def _place(self, job_id: str, name: str | None) -> tuple[int, int, str | None] | None:
        """Return the row id, the size in bytes and the blob, if any, of an artifact or payload."""
        if name is None:
            rows = self._sql.rows("SELECT rowid, length(body), NULL FROM payloads WHERE job_id = ?", (job_id,))
        else:
            named = "WHERE job_id = ?1 AND name = ?2 AND position"
            sql = f"""SELECT rowid, size, blob FROM artifacts {named} < {FIRST} UNION ALL
                      SELECT rowid, size, blob FROM artifacts INDEXED BY artifacts_by_name {named} >= {FIRST}"""
            rows = self._sql.rows(sql, (job_id, name))
        return rows[0] if rows else None
