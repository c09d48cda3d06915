"""Embeddings: past the queue, a few at a time, with their model kept warm."""

from __future__ import annotations

import msgspec
import structlog
import trio

from foreman.actors.inventory import Inventory
from foreman.errors import TargetFault
from foreman.targets.answer import Answer
from foreman.targets.protocol import Call, Target

log = structlog.get_logger()


class Embeddings:
    """Asks the target at once; at most `concurrency` calls together."""

    def __init__(self, target: Target, inventory: Inventory, *, concurrency: int, warm: str = "") -> None:
        self._target = target
        self._inventory = inventory
        self._limiter = trio.CapacityLimiter(concurrency)
        self._warm = warm

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm the embedding model now and whenever the target comes back."""
        task_status.started()
        while self._warm:
            await self._inventory.wait_up()
            await self._load()
            await self._inventory.wait_down()
        await trio.sleep_forever()

    async def embed(self, call: Call) -> bytes:
        """The target's answer, a JSON object. Raises TargetFault."""
        answer = Answer(call.endpoint, self._target.name)
        async with self._limiter, self._target.answer(call) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        return answer.result()

    async def _load(self) -> None:
        payload = msgspec.json.encode({"model": self._warm, "input": "warm"})
        try:
            await self.embed(Call(model=self._warm, key=self._warm, endpoint="/api/embed", payload=payload))
            log.info("embedding model is warm", model=self._warm)
        except TargetFault as fault:
            log.warning("cannot warm the embedding model", model=self._warm, why=str(fault))
