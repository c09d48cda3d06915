"""The files of a batch that ends: an answer or an error for each of its lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import structlog
import trio
from ulid import ULID

from foreman.actors.blobs import Blobs, Upload, ask_with
from foreman.domain.batch_answers import ERROR, LOST, lost, read_failure
from foreman.domain.batch_input import LineInvalid, RawLine
from foreman.domain.batch_kinds import KINDS, Kind
from foreman.domain.batches import CANCELLED_CODE, EXPIRED_CODE, FAILED_CODE, MESSAGES, Batch, BatchState, FinishedLine
from foreman.domain.errors import BlobMissing
from foreman.domain.files import BATCH_OUTPUT, BATCH_RESULTS
from foreman.domain.job import State
from foreman.offload import offload
from foreman.queue.batch_commands import EndBatch, Results
from foreman.queue.commands import NewFile, Queue
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

READ_LINES, READ_BYTES = 64, 2**20  # lines read at once, and bytes of them
WRITTEN = 2**14  # bytes of lines between checkpoints


UNFED = {  # the state and the code of lines that never were jobs
    BatchState.CANCELLED: (State.CANCELLED, CANCELLED_CODE),
    BatchState.EXPIRED: (State.EXPIRED, EXPIRED_CODE),
    BatchState.FAILED: (State.FAILED, FAILED_CODE),
}


class _Page(NamedTuple):
    output: bytes
    error: bytes
    last: int | None  # the last line; None when there are no more


async def write_files(
    batch: Batch, queue: Queue, readers: Readers, blobs: Blobs, unfed: AsyncIterator[RawLine]
) -> None:
    """Write the files, and end the batch with them in one transaction.

    `unfed` are the lines that never were jobs. After a crash in between all is done again, and nothing is left of the
    first files but bytes that the next sweep removes.

    Raises:
        BlobMissing: The input is missing.
        StoreUnavailable: Nothing was stored.
    """
    kind = KINDS[batch.kind]
    async with blobs.upload() as output, blobs.upload() as error:
        after = -1
        while (page := await readers.insist(partial(_page, kind, batch.id, after))).last is not None:
            await output.write(page.output)
            await error.write(page.error)
            after = page.last
        if batch.ending in UNFED:
            await _write_unfed(batch, error if kind.own_files else output, unfed)
        message = EndBatch(batch.id, await _results(batch, "output", output), await _results(batch, "error", error))
        ended = await ask_with(queue, message, output, error)
        if ended is not None:
            output.stored, error.stored = ended.output_used, ended.error_used


def _page(kind: Kind, batch_id: str, after: int, store: Reader) -> _Page:
    output, error = bytearray(), bytearray()
    last = None
    for line in store.finished_lines(batch_id, after=after, limit=READ_LINES):
        if line.state == State.DONE:
            answer = _content(store, line, COMPLETION)  # lost or not, it is one of those that `completed` counts
            output += kind.answered(line, answer) if answer else kind.failed(lost(line), LOST)
        elif kind.own_files:
            error += _unanswered(kind, line, store)
        else:
            output += _unanswered(kind, line, store)
        last = line.line
        if len(output) + len(error) >= READ_BYTES:
            break
    return _Page(bytes(output), bytes(error), last)


def _unanswered(kind: Kind, line: FinishedLine, store: Reader) -> bytes:
    if line.state == State.FAILED:
        return kind.failed(line, read_failure(line, _content(store, line, ERROR)))
    code = line.error_code or ""
    return kind.unanswered(line, code if code in MESSAGES else CANCELLED_CODE)


def _content(store: Reader, line: FinishedLine, name: str) -> bytes | None:
    """Return an artifact of a line's job; None when it is lost, which must not keep the batch from its end."""
    try:
        return store.content(line.job_id, name)
    except BlobMissing as error:
        log.error("an answer of a batch is missing", job=line.job_id, why=str(error), hint=error.hint)
        return None


async def _write_unfed(batch: Batch, upload: Upload, unfed: AsyncIterator[RawLine]) -> None:
    assert batch.ending is not None
    kind, (state, code) = KINDS[batch.kind], UNFED[batch.ending]
    number, written = batch.fed, bytearray()
    try:
        async for line in unfed:
            try:
                custom_id = await offload(len(line.data or b""), kind.custom_id, line.data, batch.endpoint)
            except LineInvalid:  # it was checked
                continue
            id = f"{batch.id.rpartition('_')[2]}_{number}"
            never = FinishedLine(number, id, custom_id, state, MESSAGES[code], code, is_job=False)
            written += kind.unanswered(never, code)
            number += 1
            if len(written) >= WRITTEN:
                await upload.write(bytes(written))
                written.clear()
                await trio.lowlevel.checkpoint()
    except BlobMissing:
        if batch.ending is not BatchState.FAILED:  # else this is why it fails, and there is nothing to name lines by
            raise
    await upload.write(bytes(written))


async def _results(batch: Batch, name: str, upload: Upload) -> Results | None:
    """Return a file once its bytes are on disk; None when it has no line."""
    if not upload.size:
        return None
    own = KINDS[batch.kind].own_files
    new = NewFile(
        id=f"{'file' if own else 'results'}-{ULID()}",
        owner=batch.owner,
        purpose=BATCH_OUTPUT if own else BATCH_RESULTS,
        filename=f"{batch.id}_{name}.jsonl",
        lifetime=batch.output_ttl if own else 0,
        counted=False,
    )
    return Results(new, await upload.finish())
