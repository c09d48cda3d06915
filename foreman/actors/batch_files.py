"""The files of a batch that ends: an answer or an error for each of its lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import trio
from ulid import ULID

from foreman.actors.blobs import Blobs, Upload
from foreman.domain.batch_answers import ERROR, error_line, output_line, unanswered_line
from foreman.domain.batch_input import LineInvalid, RawLine, read_custom_id
from foreman.domain.batches import CANCELLED_CODE, EXPIRED_CODE, Batch, BatchState
from foreman.domain.errors import StoreLost
from foreman.domain.files import BATCH_OUTPUT
from foreman.domain.job import State
from foreman.offload import offload
from foreman.queue.batch_commands import EndBatch, Results
from foreman.queue.commands import NewFile, Queue
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

READ_LINES, READ_BYTES = 64, 2**20  # lines read at once, and bytes of them
WRITTEN = 2**14  # bytes of lines between checkpoints


class _Page(NamedTuple):
    output: bytes
    error: bytes
    last: int | None  # the last line; None when there are no more


async def write_files(
    batch: Batch, queue: Queue, readers: Readers, blobs: Blobs, unfed: AsyncIterator[RawLine]
) -> None:
    """Write both files, and end the batch with them in one transaction.

    `unfed` are the lines that never were jobs. After a crash in between all is done again, and nothing is left of the
    first files but bytes that the next sweep removes.

    Raises:
        BlobMissing: The input, or a large answer, is missing.
        StoreUnavailable: Nothing was stored.
    """
    async with blobs.upload() as output, blobs.upload() as error:
        after = -1
        while (page := await readers.insist(partial(_page, batch.id, after))).last is not None:
            await output.write(page.output)
            await error.write(page.error)
            after = page.last
        if batch.ending in (BatchState.CANCELLED, BatchState.EXPIRED):
            await _write_unfed(batch, error, unfed)
        message = EndBatch(batch.id, await _results(batch, "output", output), await _results(batch, "error", error))
        with trio.CancelScope(shield=True):  # without its answer nobody knows what is stored
            try:
                ended = await queue.ask(message)
            except StoreLost:
                output.stored = error.stored = True
                raise
        if ended is not None:
            output.stored, error.stored = ended.output_used, ended.error_used


def _page(batch_id: str, after: int, store: Reader) -> _Page:
    output, error, last = list[bytes](), list[bytes](), None
    size = 0
    for line in store.finished_lines(batch_id, after=after, limit=READ_LINES):
        if line.state == State.DONE:
            output.append(output_line(line, store.content(line.job_id, COMPLETION) or b"null"))
            size += len(output[-1])
        else:
            error.append(error_line(line, store.content(line.job_id, ERROR)))
            size += len(error[-1])
        last = line.line
        if size >= READ_BYTES:
            break
    return _Page(b"".join(output), b"".join(error), last)


async def _write_unfed(batch: Batch, error: Upload, unfed: AsyncIterator[RawLine]) -> None:
    code = EXPIRED_CODE if batch.ending is BatchState.EXPIRED else CANCELLED_CODE
    number, written = batch.fed, bytearray()
    async for line in unfed:
        try:
            custom_id = await offload(len(line.data or b""), read_custom_id, line.data, batch.endpoint)
        except LineInvalid:  # it was checked
            continue
        written += unanswered_line(f"{batch.id.removeprefix('batch_')}_{number}", custom_id, code)
        number += 1
        if len(written) >= WRITTEN:
            await error.write(bytes(written))
            written.clear()
            await trio.lowlevel.checkpoint()
    await error.write(bytes(written))


async def _results(batch: Batch, kind: str, upload: Upload) -> Results | None:
    """Return a file once its bytes are on disk; None when it has no line."""
    if not upload.size:
        return None
    new = NewFile(
        id=f"file-{ULID()}",
        owner=batch.owner,
        purpose=BATCH_OUTPUT,
        filename=f"{batch.id}_{kind}.jsonl",
        lifetime=batch.output_ttl,
        counted=False,
    )
    return Results(new, await upload.finish())
