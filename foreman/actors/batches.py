"""The batches: each open one is moved on, from its input to its files."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import structlog
import trio
from msgspec.structs import replace

from foreman.actors.batch_files import write_files
from foreman.actors.batch_lines import UnfedLines, read_piece
from foreman.actors.blobs import Blobs
from foreman.domain.batch_check import Check
from foreman.domain.batch_input import LineInvalid, RawLine
from foreman.domain.batch_kinds import KINDS
from foreman.domain.batches import FED, Batch, BatchState, LineFault, Step, step
from foreman.domain.errors import BlobMissing, ForemanError, ModelNotFound, StoreRejected, StoreUnavailable, Unavailable
from foreman.domain.intake import Intake, make_draft
from foreman.domain.job import TERMINAL, Draft, Instant, Priority
from foreman.offload import offload
from foreman.queue.batch_commands import AdvanceBatch, CheckedBatch, FailBatch, FeedBatch, Line
from foreman.queue.commands import Commit, Queue
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

LOOKS_EVERY = 1.0  # seconds, while a batch is open; further commits may wake it before
PAUSE = 0.05  # seconds between looks, so that many ends of jobs cost one
AT_ONCE = 3  # batches that are moved on at a time
MOST_OPEN = 1000  # batches looked at; more wait for these
FED_BYTES = 8 * 2**20  # of lines that become jobs in one transaction


class Batches:
    """Moves open batches on; after a restart it goes on with what the store has."""

    def __init__(
        self,
        queue: Queue,
        readers: Readers,
        blobs: Blobs,
        intake: Intake,
        *,
        clock: Callable[[], Instant],
        new_id: Callable[[], str],
        coordinates: Callable[[], bool] = lambda: True,
        shared: bool = False,
    ) -> None:
        """Unless `coordinates`, another node moves batches on; with a `shared` store they may come from other nodes."""
        self._queue = queue
        self._readers = readers
        self._blobs = blobs
        self._intake = intake
        self._clock = clock
        self._new_id = new_id
        self._coordinates = coordinates
        self._shared = shared
        self._news = trio.Event()
        self._open = True  # False once a look has found no open batch

    def on_commit(self, commit: Commit) -> None:
        """Look again when a job has ended while a batch is open."""
        if self._open and any(event.state in TERMINAL for event in commit.all_events):
            self._news.set()

    def wake(self) -> None:
        """Look at once: a batch was added, or cancelled."""
        self._open = True
        self._news.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move batches on, for ever."""
        moving: set[str] = set()
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._news = trio.Event()
                found = await self._readers.insist(lambda store: store.open_batches(MOST_OPEN))
                self._open = bool(found)
                for batch in found if self._coordinates() else ():
                    if batch.id not in moving and step(batch, self._clock()) is not Step.NOTHING:
                        moving.add(batch.id)
                        nursery.start_soon(self._move, batch, moving, limiter)
                await trio.sleep(PAUSE)
                with trio.move_on_after(LOOKS_EVERY if self._open or self._shared else math.inf):
                    await self._news.wait()

    async def _move(self, batch: Batch, moving: set[str], limiter: trio.CapacityLimiter) -> None:
        """Move a batch on until it has to wait."""
        try:
            async with limiter:
                now: Batch | None = batch
                while now is not None and await self._take_or_fail(now):
                    now = await self._readers.insist(partial(_batch, batch.id))
        except StoreUnavailable as error:
            log.warning("cannot move a batch on", batch=batch.id, why=str(error))  # the next look tries again
        finally:
            moving.discard(batch.id)

    async def _take_or_fail(self, batch: Batch) -> bool:
        """Take the next step of a batch; fail a batch whose input is not what it was."""
        try:
            return await self._take(batch)
        except BlobMissing as error:
            fault = LineFault("input_missing", str(error))
        except LineInvalid as error:  # another version of this program has checked it
            fault = LineFault(error.code, str(error), param=error.param)
        except StoreRejected as error:
            fault = LineFault("line_refused", str(error))
        if batch.ending is BatchState.FAILED:
            log.error("a batch cannot end", batch=batch.id, why=fault.message)  # no other way is left
            return False
        log.error("a batch fails", batch=batch.id, why=fault.message)
        await self._queue.ask(FailBatch(batch.id, [fault]))
        return True

    async def _take(self, batch: Batch) -> bool:
        """Take the next step of a batch; return False when it has to wait."""
        match step(batch, self._clock()):
            case Step.NOTHING:
                return False
            case Step.ADVANCE:
                return await self._queue.ask(AdvanceBatch(batch.id)) != batch
            case Step.CHECK:
                await self._check(batch)
            case Step.FEED:
                return await self._feed(batch)
            case Step.WRITE:
                await write_files(batch, self._queue, self._readers, self._blobs, UnfedLines(self._readers, batch))
                log.info("a batch has ended", batch=batch.id, state=batch.ending)
        return True

    async def _check(self, batch: Batch) -> None:
        """Check the input of a batch: all its lines become jobs, or none."""
        check = Check(KINDS[batch.kind], batch.endpoint)
        at = 0
        while piece := await read_piece(self._readers, batch, at):
            at += len(piece)
            await offload(len(piece), check.feed, piece)
            if check.is_over:
                break
        await offload(check.held, check.finish)
        if check.faults:
            await self._queue.ask(FailBatch(batch.id, check.faults))
        else:
            await self._queue.ask(CheckedBatch(batch.id, check.total, check.model))

    async def _feed(self, batch: Batch) -> bool:
        """Make jobs of the next lines, as room is; return False when there is none."""
        most, size = min(FED - batch.running, (batch.total or 0) - batch.fed), 0
        lines: list[Line] = []
        unknown: dict[str, ForemanError] = {}  # models, with the refusal of their lines
        async for line in UnfedLines(self._readers, batch):
            try:
                draft = await self._draft(batch, line, batch.fed + len(lines), unknown)
            except Unavailable as error:
                log.info("lines of a batch wait", batch=batch.id, why=str(error))
                break
            lines.append(Line(draft, line.end))
            size += len(draft.payload)
            if len(lines) >= most or size >= FED_BYTES:
                break
            await trio.lowlevel.checkpoint()
        return bool(lines) and await self._queue.ask(FeedBatch(batch.id, batch.fed, lines)) > 0

    async def _draft(self, batch: Batch, line: RawLine, number: int, unknown: dict[str, ForemanError]) -> Draft:
        """Return the draft of a line; with the refusal of one that cannot run. Raise Unavailable."""
        read = KINDS[batch.kind].read
        request = await offload(len(line.data or b""), read, line.data, batch.endpoint)  # as it was checked
        own = {
            "endpoint": batch.endpoint,
            "priority": Priority.LOW,
            **request.submission.own,
            "custom_id": request.custom_id,
            "batch_id": batch.id,
            "batch_line": number,
        }
        submission = replace(request.submission, own=own)
        make = partial(self._intake.draft, owner=batch.owner, caller=batch.caller)
        refusal = request.refusal or unknown.get(submission.model)
        if refusal is None:
            try:
                return await make(submission, self._new_id())
            except ModelNotFound as error:
                refusal = unknown[submission.model] = error
            except Unavailable:  # the line waits until it is known whether it can run
                raise
            except ForemanError as error:
                refusal = error
        submission.payload.pop("options", None)  # it may be what is refused
        return make_draft(
            submission,
            self._new_id(),
            canonical=submission.model,
            max_attempts=1,
            owner=batch.owner,
            caller=batch.caller,
            refusal=refusal,
        )


def _batch(batch_id: str, store: Reader) -> Batch | None:
    return store.batch(batch_id)
