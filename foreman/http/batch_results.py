"""The results of a batch in one answer: the lines of its files, in the order of its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType

from quart import Response
from quart.wrappers.response import ResponseBody

from foreman.domain.batch_kinds import KINDS
from foreman.domain.batches import ENDED, Batch
from foreman.domain.errors import BatchNotEnded
from foreman.domain.files import PIECE, File
from foreman.domain.job import State
from foreman.http import visibility
from foreman.http.body import NDJSON, held
from foreman.http.context import context
from foreman.http.files import download, find, keep_as
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

AT_ONCE = 1000  # lines whose states are read at once


async def results(batch: Batch, content_type: str = NDJSON) -> Response:
    """Answer with a line for each request of a batch that has ended, in their order.

    Raises:
        BatchNotEnded: It has not ended.
        FileNotFound: A file of it is deleted, or has expired.
        BlobMissing: The bytes of one are gone.
    """
    if batch.state not in ENDED:
        raise BatchNotEnded(batch.id, batch.state)
    if not KINDS[batch.kind].own_files:
        part = await visibility.read(lambda store: store.file(batch.output_file or ""))
        # There is none of a batch that failed and whose input is lost.
        return await download(part, content_type) if part else Response(b"", content_type=content_type)
    readers = context().readers
    files: list[File | None] = []
    for name in (batch.output_file, batch.error_file):
        file = None if name is None else await find(name)
        if file is not None:  # while there is still a status
            await readers.read(partial(_piece, file.blob, 0, size=1))
        files.append(file)
    held().resize(2 * PIECE)
    response = Response(_Results(batch.id, *files), content_type=content_type)
    keep_as(f"{batch.id}_results.jsonl", response)
    if not all(files):  # each line is where it has to be
        response.headers["Content-Length"] = str(sum(file.size for file in files if file))
    response.timeout = None
    return response


class _Results(ResponseBody):
    """The lines of both files of a batch, by turns as their requests come; the files stay while they are read."""

    def __init__(self, batch_id: str, output: File | None, error: File | None) -> None:
        self._batch_id = batch_id
        self._readers = context().readers
        self._blobs = [file.blob for file in (output, error) if file]
        self._reading, self._kept = context().blobs.reading, ExitStack()
        self._output, self._error = _Source(self._readers, output), _Source(self._readers, error)

    async def __aenter__(self) -> _Results:
        for blob in self._blobs:
            self._kept.enter_context(self._reading(blob))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        after = -1
        while not (self._output.over or self._error.over):
            runs, after = await self._readers.insist(partial(_runs, self._batch_id, after))
            if not runs:
                break
            for is_done, lines in runs:
                source = self._output if is_done else self._error
                while lines and (part := await source.take(lines)):
                    lines -= part.count(b"\n")
                    yield part
        for source in (self._output, self._error):  # what has no job: requests that never were any come last
            while part := await source.take():
                yield part


class _Source:
    """A file, read by lines."""

    def __init__(self, readers: Readers, file: File | None) -> None:
        self._readers = readers
        self._file = file
        self._at = 0  # bytes read
        self._piece = b""
        self._taken = 0  # bytes of the piece

    @property
    def over(self) -> bool:
        """Return True when all is taken."""
        return self._taken == len(self._piece) and (self._file is None or self._at >= self._file.size)

    async def take(self, lines: int | None = None) -> bytes:
        """Return a part up to the end of so many lines at most, empty at the end. Raise BlobMissing."""
        if self._taken == len(self._piece) and self._file is not None and self._at < self._file.size:
            self._piece = await self._readers.insist(partial(_piece, self._file.blob, self._at))
            self._at += len(self._piece)
            self._taken = 0
        begin, end = self._taken, len(self._piece)
        self._taken = end if lines is None else _end_of(self._piece, begin, lines)
        return self._piece[begin : self._taken]


def _end_of(data: bytes, begin: int, lines: int) -> int:
    """Return the place after so many lines from `begin` on, or the length of the data."""
    end = begin
    for _ in range(lines):
        found = data.find(b"\n", end)
        if found < 0:
            return len(data)
        end = found + 1
    return end


def _piece(blob: str, begin: int, store: Reader, *, size: int = PIECE) -> bytes:
    return store.blob_content(blob, begin, size)


def _runs(batch_id: str, after: int, store: Reader) -> tuple[list[tuple[bool, int]], int]:
    """Return, for the next jobs of a batch, how many in a row are done or not; and the last line."""
    runs: list[tuple[bool, int]] = []
    for line in store.finished_lines(batch_id, after=after, limit=AT_ONCE):
        is_done = line.state == State.DONE
        if runs and runs[-1][0] is is_done:
            runs[-1] = is_done, runs[-1][1] + 1
        else:
            runs.append((is_done, 1))
        after = line.line
    return runs, after
