"""The blobs of a database, read without Foreman: for backups, moves and checks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from foreman.domain.errors import BlobsUnavailable, StoreRefused
from foreman.domain.files import PIECE, Blob
from foreman.store.blob_folder import BlobFolder
from foreman.store.sql.consistency import SOME
from foreman.store.sql.files import BLOB, read_blob

Query = Callable[[str, tuple[object, ...]], Iterable[tuple[Any, ...]]]  # SQL, written as SQLite reads it, and values

LONG_AGO = 3600.0  # seconds: an upload writes more often
NAMELESS = {
    "file {} has bytes that no blob has; restore a backup": (
        "SELECT id FROM files WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE digest = files.blob)"
    ),
    "job {} has an artifact that no blob has; restore a backup": (
        "SELECT job_id FROM artifacts WHERE blob IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM blobs WHERE digest = artifacts.blob)"
    ),
}
STRAY_PIECES = "SELECT DISTINCT key FROM blob_pieces p WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE key = p.key)"


def blobs_of(query: Query) -> list[Blob]:
    """Return all blobs that have a row."""
    return [read_blob(row) for row in query(f"SELECT {BLOB} FROM blobs ORDER BY digest", ())]


def pieces_of(query: Query, folder: BlobFolder | None, blob: Blob) -> Iterator[bytes]:
    """Yield a blob in pieces, all but the last one of one size.

    Raises:
        StoreRefused: It is missing or damaged; a part may have been yielded.
    """
    found = hashlib.sha256()
    for position, begin in enumerate(range(0, blob.size, PIECE)):
        data = _piece(query, folder, blob, position, min(PIECE, blob.size - begin))
        found.update(data)
        yield data
    if found.hexdigest() != blob.digest:
        raise StoreRefused(f"blob {blob.digest} is damaged; restore a backup")


def _piece(query: Query, folder: BlobFolder | None, blob: Blob, position: int, size: int) -> bytes:
    data: bytes | None = None
    if blob.in_rows:
        sql = "SELECT data FROM blob_pieces WHERE key = ? AND position = ?"
        data = b"".join(bytes(row[0]) for row in query(sql, (blob.key, position)))
    elif folder is not None:
        try:
            data = folder.read(blob, position * PIECE, size)
        except BlobsUnavailable as error:
            raise StoreRefused(f"blob {blob.digest} cannot be read: {error}") from error
    if data is None or len(data) != size:
        where = "the database" if blob.in_rows else folder.where if folder else "a folder; set blob_store to it"
        raise StoreRefused(f"blob {blob.digest} is missing in {where}; restore a backup")
    return data


def blob_problems(query: Query, folder: BlobFolder | None, *, in_use: bool) -> list[str]:
    """Read every blob; return what is missing, damaged, or has no row, some of each kind.

    While Foreman runs on it, a blob without a row may be one that is being written, unless it is old.
    """
    found = []
    for problem, sql in NAMELESS.items():
        found += [problem.format(row[0]) for row in query(f"{sql} LIMIT {SOME}", ())]
    broken = []
    for blob in blobs_of(query):
        try:
            for _ in pieces_of(query, folder, blob):
                pass
        except StoreRefused as error:
            if list(query("SELECT 1 FROM blobs WHERE key = ?", (blob.key,))):  # else it was removed meanwhile
                broken.append(str(error))
    found += broken[:SOME] + ([f"{len(broken) - SOME} more blobs are broken"] if len(broken) > SOME else [])
    strays = [] if in_use else [str(key) for (key,) in query(STRAY_PIECES, ())]
    strays += _stray_files(query, folder, in_use=in_use)
    if strays:
        found.append(f"{len(strays)} blobs belong to nothing, such as {strays[0]}; foreman removes them while it runs")
    return found


def _stray_files(query: Query, folder: BlobFolder | None, *, in_use: bool) -> list[str]:
    if folder is None:
        return []
    named = {blob.key for blob in blobs_of(query)}
    try:
        return [
            path.name
            for key, path in folder.files().items()
            if key not in named and not (in_use and time.time() - path.stat().st_mtime < LONG_AGO)
        ]
    except (OSError, BlobsUnavailable) as error:
        return [f"{folder.path} ({error})"]
