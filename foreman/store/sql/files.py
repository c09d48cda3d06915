"""The SQL of files and blobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from foreman.domain.errors import BlobMissing, BlobsUnavailable
from foreman.domain.files import BATCH_RESULTS, LARGEST_ROW, PIECE, Blob, File
from foreman.domain.job import Instant
from foreman.store.blob_folder import BlobFolder
from foreman.store.blobs import BlobStorage, add_whole
from foreman.store.sql.statements import Statements

FILE = "id, owner, purpose, filename, size, created_at, expires_at, blob"
BLOB = "digest, key, size, in_rows"
USED = """EXISTS (SELECT 1 FROM files WHERE blob = digest)
          OR EXISTS (SELECT 1 FROM artifacts WHERE artifacts.blob = digest)
          OR EXISTS (SELECT 1 FROM batches WHERE input_blob = digest)"""
AT_ONCE = 200  # values in one statement
STRAYS = """SELECT key FROM blob_pieces p WHERE position = 0
            AND NOT EXISTS (SELECT 1 FROM blobs WHERE key = p.key)"""


class FileReads:
    """The reads of files and blobs."""

    _sql: Statements
    _folder: BlobFolder | None = None  # where blobs that are not in rows are

    def file(self, file_id: str) -> File | None:
        """Return a file, or None when there is none."""
        rows = self._sql.rows(f"SELECT {FILE} FROM files WHERE id = ?", (file_id,))
        return _file(rows[0]) if rows else None

    def files(
        self,
        *,
        owner: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        newest: bool = True,
        limit: int,
    ) -> list[File]:
        """Return up to `limit` files after the one with the id `after`, by age."""
        tests, values = ["id > ''", "purpose <> ?"], list[object]([BATCH_RESULTS])
        for test, value in (("owner = ?", owner), ("purpose = ?", purpose), (f"id {'<' if newest else '>'} ?", after)):
            if value is not None:
                tests.append(test)
                values.append(value)
        sql = f"SELECT {FILE} FROM files WHERE {' AND '.join(tests)} ORDER BY id {'DESC' if newest else ''} LIMIT ?"
        return [_file(row) for row in self._sql.rows(sql, (*values, limit))]

    def count_files(self, owner: str) -> int:
        """Return the number of an owner's files, and of inputs of open batches that are no file, or none any more."""
        inputs = "ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM files WHERE files.id = batches.input_file)"
        sql = (
            "SELECT (SELECT count(*) FROM files WHERE owner = ? AND purpose <> ?)"
            f" + (SELECT count(*) FROM batches WHERE owner = ? AND {inputs})"
        )
        return int(str(self._sql.value(sql, (owner, BATCH_RESULTS, owner))))

    def file_content(self, file_id: str, *, begin: int = 0, size: int = PIECE) -> bytes | None:
        """Return a part of a file, or None when there is no such file. Raise BlobMissing."""
        digest = self._sql.value("SELECT blob FROM files WHERE id = ?", (file_id,))
        return None if digest is None else self.blob_content(str(digest), begin, size)

    def blob_content(self, digest: str, begin: int, size: int) -> bytes:
        """Return a part of a blob. Raise BlobMissing."""
        rows = self._sql.rows(f"SELECT {BLOB} FROM blobs WHERE digest = ?", (digest,))
        blob = read_blob(rows[0]) if rows else None
        size = max(0, min(size, blob.size - begin)) if blob else 0
        if blob is not None and blob.in_rows:
            data: bytes | None = self._pieces(blob.key, begin, size) if size else b""
        elif blob is not None and self._folder is not None:
            data = self._folder.read(blob, begin, size) if size else b""
        else:
            data = None
        if data is None or len(data) < size:
            raise BlobMissing(digest)
        return data

    def _pieces(self, key: str, begin: int, size: int) -> bytes:
        first, last = begin // PIECE, (begin + size - 1) // PIECE
        sql = "SELECT data FROM blob_pieces WHERE key = ? AND position >= ? AND position <= ? ORDER BY position"
        data = b"".join(bytes(row[0]) for row in self._sql.rows(sql, (key, first, last)))
        return data[begin - first * PIECE :][:size]

    def unused_blobs(self, limit: int) -> list[str]:
        """Return the digests of up to `limit` blobs that neither a file nor an artifact has."""
        rows = self._sql.rows(f"SELECT digest FROM blobs WHERE NOT ({USED}) LIMIT ?", (limit,))
        return [str(digest) for (digest,) in rows]

    def named_blobs(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that rows of blobs have."""
        found = set[str]()
        for start in range(0, len(keys), AT_ONCE):
            some = tuple(keys[start : start + AT_ONCE])
            rows = self._sql.rows(f"SELECT key FROM blobs WHERE key IN ({', '.join('?' * len(some))})", some)
            found |= {str(key) for (key,) in rows}
        return found

    def stray_pieces(self) -> list[str]:
        """Return the keys of pieces in the database that no blob has."""
        return [str(key) for (key,) in self._sql.rows(STRAYS)]


class FileWrites(FileReads):
    """The writes of files and blobs."""

    blobs: BlobStorage
    _unnamed: list[str]  # keys of blobs whose rows this transaction has inserted

    def add_file(self, file: File, blob: Blob) -> bool:
        """Insert a file and its blob; return False when the same bytes are stored already, under another key.

        Raise BlobsUnavailable when the blob was removed meanwhile.
        """
        added = self.add_blob(blob)
        values = (file.id, file.owner, file.purpose, file.filename, file.size, file.created_at, file.expires_at)
        self._sql.insert("files", FILE, [(*values, file.blob)])
        return added

    def add_blob(self, blob: Blob) -> bool:
        """Insert a blob; return False when the same bytes are stored already, under another key.

        Raise BlobsUnavailable when it was removed meanwhile.
        """
        if self._sql.rows("SELECT 1 FROM blobs WHERE digest = ?", (blob.digest,)):
            return False
        if blob.size and not self.blobs.has(blob):  # this node was taken for dead while it wrote
            raise BlobsUnavailable("its bytes were removed meanwhile: upload it again")
        self._sql.insert("blobs", BLOB, [(blob.digest, blob.key, blob.size, int(blob.in_rows))])
        return True

    def _add_large(self, rows: Iterable[tuple[str, int, str, str, bytes]]) -> None:
        """Insert artifacts whose bytes are stored as blobs."""
        for job_id, position, name, content_type, data in rows:
            blob = add_whole(self.blobs, data)
            self._unnamed.append(blob.key)
            if not self.add_blob(blob):
                self.blobs.remove([blob.key])
            values = (job_id, position, name, content_type, len(data), b"", blob.digest)
            self._sql.insert("artifacts", "job_id, position, name, content_type, size, data, blob", [values])

    def _name_blobs(self) -> None:
        """End the wait of the blobs of a transaction that has ended: they are in rows, or for the next sweep."""
        self.blobs.pending.difference_update(self._unnamed)
        self._unnamed.clear()

    def delete_files(self, file_ids: Sequence[str]) -> None:
        """Delete files; their blobs are removed by the next sweep."""
        self._sql.run_each("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in file_ids])

    def expired_files(self, now: Instant, limit: int) -> list[str]:
        """Return the ids of up to `limit` files past their expiry."""
        sql = "SELECT id FROM files WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        return [str(file_id) for (file_id,) in self._sql.rows(sql, (now, limit))]

    def drop_blobs(self, digests: Sequence[str]) -> list[str]:
        """Delete those of the blobs that nothing has, but for their bytes; return their keys."""
        keys = []
        for digest in digests:
            sql = f"SELECT key FROM blobs WHERE digest = ? AND NOT ({USED})"
            for (key,) in self._sql.rows(sql, (digest,)):
                self._sql.run("DELETE FROM blobs WHERE digest = ?", (digest,))
                keys.append(str(key))
        return keys

    def drop_pieces(self, key: str, most: int) -> int:
        """Delete up to `most` pieces of a blob without a row, the last ones first; return their number.

        As long as any is left, `stray_pieces` has the key.
        """
        sql = "SELECT position FROM blob_pieces WHERE key = ? ORDER BY position DESC LIMIT ?"
        positions = [position for (position,) in self._sql.rows(sql, (key, most))]
        if positions:
            self._sql.run("DELETE FROM blob_pieces WHERE key = ? AND position >= ?", (key, positions[-1]))
        return len(positions)


def is_large(data: bytes) -> bool:
    """Return True for an artifact that is stored as a blob."""
    return len(data) > LARGEST_ROW


def read_blob(row: tuple[Any, ...]) -> Blob:
    """Return a row of BLOB as a Blob."""
    digest, key, size, in_rows = row
    return Blob(digest=str(digest), key=str(key), size=int(size), in_rows=bool(in_rows))


def _file(row: tuple[Any, ...]) -> File:
    file_id, owner, purpose, filename, size, created_at, expires_at, blob = row
    return File(
        id=file_id,
        owner=owner,
        purpose=purpose,
        filename=filename,
        size=size,
        created_at=created_at,
        expires_at=expires_at,
        blob=blob,
    )
