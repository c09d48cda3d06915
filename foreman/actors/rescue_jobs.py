"""The rescue of jobs that an earlier worker left running."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog
import trio

from foreman.domain.errors import StoreUnavailable
from foreman.queue.commands import Queue, Rescue

log = structlog.get_logger()


async def rescue_jobs(queue: Queue, target: str, others: Callable[[], Collection[str]]) -> None:
    """Requeue the running jobs of a target, and those of none of `others()`; wait until the store takes it."""
    while True:
        try:
            rescued = await queue.ask(Rescue(target=target, others=others()))
            break
        except StoreUnavailable as error:
            log.warning("cannot rescue the jobs that were running", why=str(error))
            await trio.sleep(error.retry_after)
    if rescued:
        log.warning("rescued jobs that were running", jobs=rescued)
