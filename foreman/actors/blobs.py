"""Blobs as tasks see them: written in pieces off the event loop, kept while they are read, and swept."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

import structlog
import trio

from foreman.domain.batches import Batch
from foreman.domain.errors import StoreLost, StoreUnavailable
from foreman.domain.files import DROPPED, PIECE, Blob, File
from foreman.domain.nodes import NodeState
from foreman.offload import InThread, threads
from foreman.queue.batch_commands import AddCheckedBatch, NewBatch
from foreman.queue.commands import AddFile, DropBlobs, DropPieces, Message, NewFile, Queue
from foreman.queue.replies import Reply
from foreman.store.blobs import BlobStorage, BlobWriter
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

T = TypeVar("T")

THREADS = 4  # that write blobs; a sync may take long
DROPPED_AT_ONCE = 8  # blobs whose rows are deleted in one transaction; their bytes are deleted afterwards


class Upload:
    """A file that is being written."""

    def __init__(self, writer: BlobWriter, queue: Queue, in_thread: InThread) -> None:
        self._writer = writer
        self._queue = queue
        self._in_thread = in_thread
        self._data = bytearray()
        self.size = 0  # bytes
        self.stored = False  # True when a row has the bytes
        self.doubt: Reply[Any] | None = None  # the answer that will tell if a row has them

    async def write(self, data: bytes) -> None:
        """Add data. Raise StoreUnavailable."""
        self.size += len(data)
        self._data += data
        if len(self._data) >= PIECE:
            await self._flush()

    async def _flush(self) -> None:
        data = bytes(self._data)
        self._data.clear()
        if data:
            await self._in_thread(self._writer.write, data)

    async def finish(self) -> Blob:
        """Return the blob once its bytes are on disk. Raise StoreUnavailable."""
        await self._flush()
        return await self._in_thread(self._writer.finish)

    async def store(self, new: NewFile) -> File:
        """Return the file once its bytes and its row are on disk.

        Raises:
            QuotaExceeded: Its owner has as many files as allowed.
            StoreUnavailable: It could not be stored.
        """
        return await self._add(AddFile(new, await self.finish()))

    async def store_batch(self, new: NewBatch, total: int, model: str | None = None) -> Batch:
        """Return the batch whose checked input this is, of so many lines, once both are on disk.

        Raises:
            IdempotencyMismatch: Its key belongs to another batch.
            QuotaExceeded: Its owner has as many files, inputs of batches included, as allowed.
            StoreUnavailable: It could not be stored.
        """
        return await self._add(AddCheckedBatch(new, await self.finish(), total, model))

    async def _add(self, message: Message[tuple[T, bool]]) -> T:
        added, self.stored = await ask_with(self._queue, message, self)
        return added


async def ask_with(queue: Queue, message: Message[T], *uploads: Upload) -> T:
    """Return the answer to a message that names uploads. Raise what it was answered with, or StoreUnavailable.

    Their bytes stay while the message may still be stored: its sender is told within seconds that nobody knows, and it
    may be minutes until a commit turns out to be stored.
    """
    try:
        with trio.CancelScope(shield=True):
            answer = await queue.ask(message)
    except StoreUnavailable as error:
        if message.reply.comes or isinstance(error, StoreLost):
            for upload in uploads:
                upload.doubt = message.reply
        raise
    return answer


class Blobs:
    """The blobs of the store."""

    def __init__(
        self, storage: BlobStorage, queue: Queue, readers: Readers, *, in_thread: InThread | None = None
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._readers = readers
        self._in_thread = in_thread or threads(THREADS)
        self._read: Counter[str] = Counter()  # by digest: blobs that are being read
        self._doubts: list[tuple[str, Reply[Any]]] = []  # keys, and the answers that will tell if a row has them

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """Begin a file; unless it is stored inside, nothing is left of it. Raise StoreUnavailable."""
        writer = await self._in_thread(self._storage.begin)
        upload = Upload(writer, self._queue, self._in_thread)
        try:
            yield upload
        finally:
            with trio.CancelScope(shield=True):
                if upload.doubt is None:
                    await self._in_thread(self._end, writer, upload.stored)
                else:
                    self._doubts.append((writer.key, upload.doubt))
                    await self._in_thread(writer.close)

    def _end(self, writer: BlobWriter, stored: bool) -> None:
        writer.close()
        try:
            if not stored:
                self._storage.remove([writer.key])
        except StoreUnavailable as error:
            log.warning("an unfinished file is left to the next sweep", why=str(error))
        finally:
            self._storage.pending.discard(writer.key)

    def _end_doubts(self) -> None:
        """Leave to the sweep what is known by now: it looks which of them have rows."""
        self._storage.pending.difference_update(key for key, reply in self._doubts if not reply.comes)
        self._doubts = [(key, reply) for key, reply in self._doubts if reply.comes]

    @contextmanager
    def reading(self, digest: str) -> Iterator[None]:
        """Keep a blob while it is read, also when the last file that has it is deleted."""
        self._read[digest] += 1
        try:
            yield
        finally:
            self._read[digest] -= 1
            if not self._read[digest]:
                del self._read[digest]

    async def sweep(self, *, coordinates: bool) -> int:
        """Remove the blobs that no row has, and return their number. Raise StoreUnavailable.

        Those that lost their last row are removed by the node that `coordinates`; those that never had one, such as
        after a crash, by the node that wrote them, or by that one when their node is gone.
        """
        removed = await self._drop_unused() if coordinates else 0
        others = await self._readers.read(_others) if coordinates else None
        self._end_doubts()
        # In this order: a blob is pending until its row is committed.
        stored = await self._in_thread(self._storage.stored, others)
        in_rows = {key for key in await self._readers.read(_stray_pieces) if self._storage.may_remove(key, others)}
        stored = [*in_rows.union(stored)]
        unnamed = [key for key in stored if key not in self._storage.pending]
        if unnamed:
            named = await self._readers.read(lambda store: store.named_blobs(unnamed))
            strays = [key for key in unnamed if key not in named]
            await self._remove(strays)
            for key in in_rows.intersection(strays):
                while await self._queue.ask(DropPieces(key)) == DROPPED:
                    pass
            removed += len(strays)
        return removed

    async def _drop_unused(self) -> int:
        """Remove the blobs that lost their last row, and return their number.

        Their bytes are removed together at the end, since that lists the folder; what is left of a failure is stray.
        """
        keys: list[str] = []
        dropped = 0
        while True:
            most = DROPPED_AT_ONCE + len(self._read)
            unused = await self._readers.read(partial(_unused, most))
            free = [digest for digest in unused if digest not in self._read]
            if not free:
                break
            gone = await self._queue.ask(DropBlobs(free))
            keys += gone
            dropped += len(free)
        await self._remove(keys)
        return dropped

    async def _remove(self, keys: list[str]) -> None:
        await self._in_thread(self._storage.remove, keys)


def _unused(most: int, store: Reader) -> list[str]:
    return store.unused_blobs(most)


def _stray_pieces(store: Reader) -> list[str]:
    return store.stray_pieces()


def _others(store: Reader) -> set[str]:
    return {node.name for node in store.nodes() if node.state is not NodeState.GONE}
