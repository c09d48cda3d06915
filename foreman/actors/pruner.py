"""The pruner: removes expired jobs, files and usage rows, and keeps the database's files small."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from foreman.actors.blobs import Blobs
from foreman.domain.errors import StoreUnavailable
from foreman.queue.commands import Checkpoint, KeepUsage, Prune, PruneFiles, Queue

log = structlog.get_logger()

ROUND = 30.0  # seconds between rounds
LARGE_LOG = 256 * 2**20  # bytes
BATCH = 200  # jobs removed in one transaction: a few milliseconds of the writer


async def run(
    queue: Queue,
    blobs: Blobs,
    coordinates: Callable[[], bool] = lambda: True,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sweep for ever, in small transactions that let other work in between.

    Unless `coordinates`, another node removes jobs and files.
    """
    task_status.started()
    while True:
        await trio.sleep(ROUND)
        await sweep(queue, blobs, coordinates=coordinates())


async def sweep(queue: Queue, blobs: Blobs, *, coordinates: bool = True) -> int:
    """Remove expired jobs and files and what they leave, fold usage rows; return the number of jobs removed."""
    total = files = swept = 0
    try:
        while coordinates and (removed := await queue.ask(Prune(most=BATCH))):
            total += removed
        while coordinates and (removed := await queue.ask(PruneFiles(most=BATCH))):
            files += removed
        swept = await blobs.sweep(coordinates=coordinates)
        await queue.ask(KeepUsage())
        size = await queue.ask(Checkpoint())
        if size > LARGE_LOG:
            log.warning("the database's log is large: another program may hold a long read", bytes=size)
    except StoreUnavailable as error:
        log.warning("cannot prune", why=str(error))
    if total or files or swept:
        log.info("pruned", jobs=total, files=files, blobs=swept)
    return total
