"""Embeddings: past the queue, a few at a time, with their model kept warm."""

from __future__ import annotations

import msgspec
import structlog
import trio

from foreman.actors.call_slots import Places
from foreman.actors.inventory import Inventory
from foreman.actors.worker import Patience
from foreman.budget import Budget, Lease
from foreman.domain.errors import AnswerTooLarge, AttemptTimeout, TargetFault, TargetSilent
from foreman.domain.job import model_of
from foreman.targets.answers.joiner import Answer
from foreman.targets.protocol import Call, Target

log = structlog.get_logger()

NOT_FOR_EMBEDDINGS = "its server is not for embeddings alone: a call for it is a job, and loads it when its turn comes"


class Embeddings:
    """Asks the target at once; about `concurrency` calls together, shared by their models."""

    def __init__(
        self, target: Target, inventory: Inventory, *, concurrency: int, patience: Patience, warm: str = ""
    ) -> None:
        self._target = target
        self._inventory = inventory
        self._places = Places(concurrency)
        self._patience = patience
        self._warm = warm

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm the embedding model now and whenever the target comes back."""
        task_status.started()
        while self._warm:
            await self._inventory.wait_up()
            await self._load()
            await self._inventory.wait_down()
        await trio.sleep_forever()

    async def embed(self, call: Call, held: Lease | None = None) -> bytes | None:
        """Return the target's answer, a JSON object; None when the call is one for the queue (see `Target.displaces`).

        `held` counts what comes of it. Raises MemoryFull, and TargetFault, after `attempt` seconds at the latest, the
        time in which it waits for a place included.
        """
        answer: bytes | None = None
        with trio.move_on_after(self._patience.attempt) as scope:
            async with self._places.place(model_of(call.key)):
                answer = await self._ask(call, held or Budget().lease())
        if scope.cancelled_caught:
            raise AttemptTimeout(self._patience.attempt)
        return answer

    async def _ask(self, call: Call, held: Lease) -> bytes | None:
        """Ask for as long as the worker would."""
        if self._target.displaces(call):
            return None
        answer, size, patience = Answer(call.endpoint, self._target.name), 0, self._patience.first_chunk
        with trio.CancelScope() as scope:

            def heard() -> None:
                nonlocal patience
                patience = self._patience.stall
                scope.deadline = trio.current_time() + patience

            await self._target.load(call)
            scope.deadline = trio.current_time() + patience
            async with self._target.answer(msgspec.structs.replace(call, heard=heard, took=held.grow)) as chunks:
                async for chunk in chunks:
                    size += len(chunk.data)
                    if size > self._patience.max_answer:
                        raise AnswerTooLarge(self._patience.max_answer)
                    answer.add(chunk)
        if scope.cancelled_caught:
            raise TargetSilent(self._target.name, patience)
        return answer.result()

    async def _load(self) -> None:
        """Ask for something. A place is for callers, who are not to wait for this."""
        payload = msgspec.json.encode({"model": self._warm, "input": "warm"})
        call = Call(model=self._warm, key=self._warm, endpoint="/api/embed", payload=payload)
        try:
            with trio.fail_after(self._patience.attempt):
                answer = await self._ask(call, Budget().lease())
        except (TargetFault, trio.TooSlowError) as fault:
            log.warning("cannot warm the embedding model", model=self._warm, why=str(fault) or "it took too long")
        else:
            if answer is None:
                log.warning("cannot warm the embedding model", model=self._warm, why=NOT_FOR_EMBEDDINGS)
            else:
                log.info("embedding model is warm", model=self._warm)
