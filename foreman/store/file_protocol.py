"""The part of the protocol of storage engines that is about files and blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foreman.domain.files import PIECE, Blob, File
from foreman.domain.job import Instant
from foreman.store.blobs import BlobStorage


class FileReader(Protocol):
    """The reads of files and blobs."""

    def file(self, file_id: str) -> File | None:
        """Return a file, or None when there is none."""

    def files(
        self,
        *,
        owner: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        newest: bool = True,
        limit: int,
    ) -> list[File]:
        """Return up to `limit` files after the one with the id `after`, by age, the newest or the oldest first.

        Files that are parts of batches are not among them.
        """

    def count_files(self, owner: str) -> int:
        """Return the number of an owner's files, without those that are parts of batches."""

    def file_content(self, file_id: str, *, begin: int = 0, size: int = PIECE) -> bytes | None:
        """Return a part of a file, or None when there is no such file. Raise BlobMissing."""

    def blob_content(self, digest: str, begin: int, size: int) -> bytes:
        """Return a part of a blob, shorter at its end; of any owner's. Raise BlobMissing."""

    def unused_blobs(self, limit: int) -> list[str]:
        """Return the digests of up to `limit` blobs that neither a file nor an artifact has."""

    def named_blobs(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that rows of blobs have."""

    def stray_pieces(self) -> list[str]:
        """Return the keys of pieces in the database that no blob has, also of blobs that are being written."""


class FileWriter(FileReader, Protocol):
    """The writes of files and blobs."""

    @property
    def blobs(self) -> BlobStorage:
        """Return where new blobs are stored. A blob's bytes are stored before the transaction that names it."""

    def add_file(self, file: File, blob: Blob) -> bool:
        """Insert a file and its blob; return False when the same bytes are stored already, under another key.

        Raise BlobsUnavailable when the blob was removed meanwhile.
        """

    def add_blob(self, blob: Blob) -> bool:
        """Insert a blob; return False when the same bytes are stored already, under another key.

        Raise BlobsUnavailable when it was removed meanwhile.
        """

    def delete_files(self, file_ids: Sequence[str]) -> None:
        """Delete files; their blobs are removed by the next sweep."""

    def expired_files(self, now: Instant, limit: int) -> list[str]:
        """Return the ids of up to `limit` files past their expiry."""

    def drop_blobs(self, digests: Sequence[str]) -> list[str]:
        """Delete those of the blobs that nothing has, but for their bytes; return their keys."""

    def drop_pieces(self, key: str, most: int) -> int:
        """Delete up to `most` pieces of a blob without a row; return their number."""
