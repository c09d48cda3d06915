"""The pruner: removes expired jobs and usage rows, and keeps the database's files small."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from foreman.domain.errors import StoreUnavailable
from foreman.queue.commands import Checkpoint, KeepUsage, Prune, Queue

log = structlog.get_logger()

ROUND = 30.0  # seconds between rounds
LARGE_LOG = 256 * 2**20  # bytes
BATCH = 200  # jobs removed in one transaction: a few milliseconds of the writer


async def run(
    queue: Queue,
    coordinates: Callable[[], bool] = lambda: True,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sweep for ever, in small transactions that let other work in between.

    Unless `coordinates`, another node removes the jobs.
    """
    task_status.started()
    while True:
        await trio.sleep(ROUND)
        await sweep(queue, jobs=coordinates())


async def sweep(queue: Queue, *, jobs: bool = True) -> int:
    """Remove expired jobs, fold usage rows, checkpoint the log; return the number of jobs removed."""
    total = 0
    try:
        while jobs and (removed := await queue.ask(Prune(most=BATCH))):
            total += removed
        await queue.ask(KeepUsage())
        size = await queue.ask(Checkpoint())
        if size > LARGE_LOG:
            log.warning("the database's log is large: another program may hold a long read", bytes=size)
    except StoreUnavailable as error:
        log.warning("cannot prune", why=str(error))
    if total:
        log.info("pruned", jobs=total)
    return total
