"""The copy of the blobs of a stopped SQLite queue to a database on a server, or to a folder that nodes share."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from foreman.domain.errors import StoreRefused, StoreUnavailable
from foreman.domain.files import Blob
from foreman.store.blob_folder import BlobFolder, fleet_folder
from foreman.store.blob_source import blobs_of, pieces_of
from foreman.store.sql.files import BLOB

AT_ONCE = 8  # rows fetched: each has half a MiB


class BlobMove:
    """The blobs to copy, and where they go."""

    def __init__(
        self,
        source: sqlite3.Connection,
        folder: BlobFolder,
        target: psycopg.Connection[Any],
        new_folder: Path | None,
        progress: Callable[[str, str, int, int], None],
    ) -> None:
        """Copy from a database and its folder to a database, or to the folder `new_folder`."""
        self._source = source
        self._folder = folder
        self._target = target
        self._new_folder = new_folder
        self._progress = progress

    def run(self) -> int:
        """Copy all blobs and compare them, within the target's transaction; return their number. Raise StoreRefused."""
        blobs = blobs_of(self._source.execute)
        moved = self._to_rows(blobs) if self._new_folder is None else self._to_folder(blobs, self._new_folder)
        with self._target.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO blobs ({BLOB}) VALUES ($1, $2, $3, $4)",
                [(blob.digest, blob.key, blob.size, int(blob.in_rows)) for blob in moved],
            )
        return len(moved)

    def _to_rows(self, blobs: list[Blob]) -> list[Blob]:
        copying = b"COPY blob_pieces (key, position, data) FROM STDIN (FORMAT BINARY)"
        with self._target.cursor().copy(copying) as copy:
            copy.set_types(["text", "int4", "bytea"])
            for done, blob in enumerate(blobs):
                for position, data in enumerate(pieces_of(self._source.execute, self._folder, blob)):
                    copy.write_row((blob.key, position, data))
                self._progress("copied", "blobs", done + 1, len(blobs))
        digests = {blob.key: hashlib.sha256() for blob in blobs}
        with psycopg.RawServerCursor(self._target, "pieces") as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(b"SELECT key, data FROM blob_pieces ORDER BY key, position", binary=True)
            for key, data in cursor:
                digests[key].update(data)
        for blob in blobs:
            if digests[blob.key].hexdigest() != blob.digest:
                raise StoreRefused(
                    f"blob {blob.digest} is not in the database as it was: nothing was copied; try again"
                )
        return [Blob(digest=blob.digest, key=blob.key, size=blob.size, in_rows=True) for blob in blobs]

    def _to_folder(self, blobs: list[Blob], path: Path) -> list[Blob]:
        [(secret,)] = self._target.execute("SELECT secret FROM fleet_state").fetchall()
        folder, moved = BlobFolder(path / fleet_folder(bytes(secret))), list[Blob]()
        for done, blob in enumerate(blobs):
            try:
                writer = folder.begin()
                try:
                    for data in pieces_of(self._source.execute, self._folder, blob):
                        writer.write(data)
                    moved.append(writer.finish())
                finally:
                    writer.close()
            except StoreUnavailable as error:
                raise StoreRefused(f"blobs cannot be copied to {path}: {error}") from error
            self._progress("copied", "blobs", done + 1, len(blobs))
        return moved
