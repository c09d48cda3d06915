"""The input of a batch as its actor reads it: piece by piece."""

from __future__ import annotations

from collections import deque
from functools import partial

from foreman.domain.batch_input import Lines, RawLine
from foreman.domain.batches import Batch
from foreman.domain.files import PIECE
from foreman.store.protocol import Reader
from foreman.store.readers import Readers


async def read_piece(readers: Readers, batch: Batch, begin: int) -> bytes:
    """Return a piece of the input of a batch, empty at its end. Raise BlobMissing."""
    if batch.input_blob is None:
        return b""
    return await readers.insist(partial(_piece, batch.input_blob, begin))


class UnfedLines:
    """The lines of a batch that are no jobs yet, as an iterator that needs no closing."""

    def __init__(self, readers: Readers, batch: Batch) -> None:
        self._readers = readers
        self._batch = batch
        self._at = batch.read_to
        self._lines = Lines(begin=batch.read_to)
        self._ready: deque[RawLine] = deque()
        self._over = False

    def __aiter__(self) -> UnfedLines:
        return self

    async def __anext__(self) -> RawLine:
        """Return the next line. Raise BlobMissing."""
        while not self._ready and not self._over:
            piece = await read_piece(self._readers, self._batch, self._at)
            self._at += len(piece)
            self._over = not piece
            self._ready.extend(self._lines.feed(piece) if piece else self._lines.finish())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()


def _piece(digest: str, begin: int, store: Reader) -> bytes:
    return store.blob_content(digest, begin, PIECE)
