"""The storage of blobs: what engines keep the bytes of files and large artifacts in, outside of transactions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Protocol

from ulid import ULID

from foreman.domain.files import Blob


class BlobWriter(Protocol):
    """A blob that is being written, in one thread at a time."""

    key: str

    def write(self, data: bytes) -> None:
        """Add data. Raise StoreUnavailable."""

    def finish(self) -> Blob:
        """Return the blob once its bytes are on disk. Raise StoreUnavailable."""

    def close(self) -> None:
        """Release what the writer holds open; unfinished bytes are removed by the next sweep."""


class BlobStorage(Protocol):
    """A place for blobs. Safe in any thread, but for its writers.

    A blob is stored before the row that names it, under a key that is never given again. So removing one that no row
    names can never meet a row that is being written: its key is in `pending` until that row is committed.
    """

    pending: set[str]  # keys of this process that no committed row may name yet

    @property
    def where(self) -> str:
        """Return in words where blobs are stored."""

    def begin(self) -> BlobWriter:
        """Return the writer of a new blob, whose key is pending."""

    def stored(self, others: Collection[str] | None) -> list[str]:
        """Return the keys of all blobs here, also unfinished ones, that this node may remove.

        Those are its own; and unless `others` is None, those of all nodes but the `others`. Raise StoreUnavailable.
        """

    def may_remove(self, key: str, others: Collection[str] | None) -> bool:
        """Return True for a key that this node may remove, as `stored` has it."""

    def remove(self, keys: Iterable[str]) -> None:
        """Remove blobs; those that cannot be removed now stay for the next sweep. Raise StoreUnavailable."""

    def has(self, blob: Blob) -> bool:
        """Return True when a blob is stored here whole. Raise StoreUnavailable."""


class Keys:
    """The keys of a storage: new ones, pending ones, and whose they are."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.pending: set[str] = set()

    def new(self) -> str:
        """Return a new key, which is pending."""
        key = f"{ULID()}.{self._node}"
        self.pending.add(key)
        return key

    def may_remove(self, key: str, others: Collection[str] | None) -> bool:
        """Return True for a key of this node's, or of a node that is none of the `others`."""
        node = key.partition(".")[2]
        return node == self._node or (others is not None and node not in others)


class Digest:
    """The digest and size of a blob as it is written."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Count data."""
        self._hash.update(data)
        self.size += len(data)

    def blob(self, key: str, *, in_rows: bool) -> Blob:
        """Return the blob of what was added."""
        return Blob(digest=self._hash.hexdigest(), key=key, size=self.size, in_rows=in_rows)


def add_whole(storage: BlobStorage, data: bytes) -> Blob:
    """Store data as a blob, whose key stays pending. Raise StoreUnavailable."""
    writer = storage.begin()
    try:
        writer.write(data)
        return writer.finish()
    finally:
        writer.close()
