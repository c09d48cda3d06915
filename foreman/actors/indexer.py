"""The indexer: makes the index of words when the setting full_text is switched on, and drops it when it is off."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from foreman.domain.errors import StoreUnavailable
from foreman.queue.commands import KeepIndex, Queue
from foreman.store.readers import Readers

log = structlog.get_logger()

ROUND = 5.0  # seconds between looks at the setting
TELLS_EVERY = 30.0  # seconds
SHARE = 1.0  # of a step's time to wait after it, in which others have the writer for themselves


class Indexer:
    """Keeps the index in line with the setting, in steps that let other work in between."""

    def __init__(self, queue: Queue, readers: Readers, coordinates: Callable[[], bool]) -> None:
        """Unless `coordinates`, another node does it, by its own setting."""
        self._queue = queue
        self._readers = readers
        self._coordinates = coordinates

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work for ever."""
        task_status.started()
        while True:
            try:
                await self.keep()
            except StoreUnavailable as error:
                log.warning("cannot index", why=str(error))
            await trio.sleep(ROUND)

    async def keep(self) -> None:
        """Bring the index in line with the setting. Raise StoreUnavailable."""
        began = told = trio.current_time()
        steps = 0
        while self._coordinates():
            before = trio.current_time()
            if not await self._queue.ask(KeepIndex()):
                break
            steps += 1
            now = trio.current_time()
            if now - told >= TELLS_EVERY:
                told = now
                await self._tell("indexing")
            await trio.sleep(SHARE * (now - before))
        if steps:
            await self._tell("indexed", seconds=round(trio.current_time() - began, 1))

    async def _tell(self, event: str, **more: object) -> None:
        state = await self._readers.read(lambda store: store.indexing())
        if state is None or not state.version:
            log.info("the index of words is dropped" if event == "indexed" else "dropping the index of words", **more)
        else:
            log.info(f"{event} the words of jobs", jobs=state.done, **more)
