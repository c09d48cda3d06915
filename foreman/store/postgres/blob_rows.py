"""Blobs as rows of pieces in the database, written by a connection of their own."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

from foreman.domain.files import DROPPED, PIECE, Blob
from foreman.store.blobs import Digest, Keys
from foreman.store.postgres.address import Address
from foreman.store.postgres.connection import Connection
from foreman.store.sql.files import STRAYS

# The last ones first: as long as any is left, STRAYS finds the key.
DROP_PIECES = """DELETE FROM blob_pieces WHERE key = ? AND position IN
                 (SELECT position FROM blob_pieces WHERE key = ? ORDER BY position DESC LIMIT ?) RETURNING position"""


class BlobRows:
    """The blobs of a database. Each piece is committed by itself, outside of the transactions of the queue."""

    def __init__(self, address: Address, node: str) -> None:
        self._keys = Keys(node)
        self.pending = self._keys.pending
        self._connection = Connection(address)
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """Return in words where blobs are stored."""
        return "the database"

    def begin(self) -> RowWriter:
        """Return the writer of a new blob, whose key is pending."""
        return RowWriter(self, self._keys.new())

    def add(self, key: str, position: int, data: bytes) -> None:
        """Store a piece. Raise StoreUnavailable."""
        sql = """INSERT INTO blob_pieces (key, position, data) VALUES (?, ?, ?)
                 ON CONFLICT (key, position) DO NOTHING RETURNING position"""  # it may be sent twice
        with self._lock:
            self._connection.rows(sql, (key, position, data))

    def stored(self, others: Collection[str] | None) -> list[str]:
        """Return the keys of blobs without a row that this node may remove."""
        with self._lock:
            rows = self._connection.rows(STRAYS)
        return [key for (key,) in rows if self._keys.may_remove(key, others)]

    def may_remove(self, key: str, others: Collection[str] | None) -> bool:
        """Return True for a key that this node may remove."""
        return self._keys.may_remove(key, others)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove blobs, some pieces at a time: uploads go on in between."""
        for key in keys:
            left = True
            while left:
                with self._lock:
                    left = len(self._connection.rows(DROP_PIECES, (key, key, DROPPED))) == DROPPED

    def has(self, blob: Blob) -> bool:
        """Return True when a blob is stored here."""
        with self._lock:
            return bool(self._connection.rows("SELECT 1 FROM blob_pieces WHERE key = ? AND position = 0", (blob.key,)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class RowWriter:
    """A blob that is being written in pieces."""

    def __init__(self, rows: BlobRows, key: str) -> None:
        self.key = key
        self._rows = rows
        self._digest = Digest()
        self._data = bytearray()
        self._position = 0

    def write(self, data: bytes) -> None:
        """Add data."""
        self._digest.add(data)
        self._data += data
        while len(self._data) >= PIECE:
            self._send(PIECE)

    def _send(self, size: int) -> None:
        self._rows.add(self.key, self._position, bytes(self._data[:size]))
        del self._data[:size]
        self._position += 1

    def finish(self) -> Blob:
        """Return the blob once its pieces are committed."""
        if self._data:
            self._send(len(self._data))
        return self._digest.blob(self.key, in_rows=True)

    def close(self) -> None:
        """Drop what was not sent."""
        self._data.clear()
