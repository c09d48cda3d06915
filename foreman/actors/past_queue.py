"""Calls past the queue: embeddings and the like, bounded by call slots, with the embedding model kept warm."""

from __future__ import annotations

import msgspec
import structlog
import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.call_slots import CallSlots
from foreman.actors.inventory import Inventory
from foreman.budget import Budget, Lease
from foreman.domain.endpoints import at
from foreman.domain.errors import AnswerTooLarge, AttemptTimeout, TargetError, TargetSilent
from foreman.domain.job import model_of
from foreman.targets.protocol import Call, Target

log = structlog.get_logger()

NOT_FOR_EMBEDDINGS = "its server is not for embeddings alone; a call for it becomes a job, which loads it in its turn"


class PastQueue:
    """Sends calls to the target at once, about `concurrency` together, shared between models."""

    def __init__(
        self, target: Target, inventory: Inventory, *, concurrency: int, timeout: Timeouts, warm: str = ""
    ) -> None:
        self._target = target
        self._inventory = inventory
        self._slots = CallSlots(concurrency)
        self._timeout = timeout
        self._warm = warm

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm the embedding model now and each time the target comes back."""
        task_status.started()
        while self._warm:
            await self._inventory.wait_up()
            await self._load()
            await self._inventory.wait_down()
        await trio.sleep_forever()

    async def ask(self, call: Call, held: Lease | None = None) -> bytes | None:
        """Return the target's answer, a JSON object; None when the call belongs in the queue (see `Target.displaces`).

        `held` counts the bytes of the answer. The call ends after `attempt` seconds, waiting for a slot included.

        Raises:
            MemoryFull: The answer finds no room in the budget.
            TargetError: The target failed, or exceeded a timeout.
        """
        answer: bytes | None = None
        with trio.move_on_after(self._timeout.attempt) as scope:
            async with self._slots.hold(model_of(call.key)):
                answer = await self._ask(call, held or Budget().lease())
        if scope.cancelled_caught:
            raise AttemptTimeout(self._timeout.attempt)
        return answer

    async def _ask(self, call: Call, held: Lease) -> bytes | None:
        """Send the call, with the worker's timeouts."""
        if self._target.displaces(call):
            return None
        answer, size, timeout = at(call.endpoint).answer(self._target.name), 0, self._timeout.first_chunk
        with trio.CancelScope() as scope:

            def heard() -> None:
                nonlocal timeout
                timeout = self._timeout.stall
                scope.deadline = trio.current_time() + timeout

            await self._target.load(call)
            scope.deadline = trio.current_time() + timeout
            async with self._target.answer(msgspec.structs.replace(call, heard=heard, took=held.grow)) as chunks:
                async for chunk in chunks:
                    size += len(chunk.data)
                    if size > self._timeout.max_answer:
                        raise AnswerTooLarge(self._timeout.max_answer)
                    answer.add(chunk)
        if scope.cancelled_caught:
            raise TargetSilent(self._target.name, timeout)
        return answer.result()

    async def _load(self) -> None:
        """Load the model with a small call, outside the call slots, so that callers do not wait for it."""
        payload = msgspec.json.encode({"model": self._warm, "input": "warm"})
        call = Call(model=self._warm, key=self._warm, endpoint="/api/embed", payload=payload)
        try:
            with trio.fail_after(self._timeout.attempt):
                answer = await self._ask(call, Budget().lease())
        except (TargetError, trio.TooSlowError) as error:
            log.warning("cannot warm the embedding model", model=self._warm, why=str(error) or "it took too long")
        else:
            if answer is None:
                log.warning("cannot warm the embedding model", model=self._warm, why=NOT_FOR_EMBEDDINGS)
            else:
                log.info("embedding model is warm", model=self._warm)
