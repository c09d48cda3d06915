"""Calls past the queue: embeddings and the like, bounded by call slots, with the embedding model kept warm."""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog
import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.call_slots import CallSlots
from foreman.actors.fleet import Fleet, Member
from foreman.budget import Budget, Lease
from foreman.domain.endpoints import at
from foreman.domain.errors import (
    AnswerTooLarge,
    AttemptTimeout,
    ModelCrashed,
    TargetDrained,
    TargetError,
    TargetSilent,
    TargetUnavailable,
)
from foreman.domain.job import model_of
from foreman.targets.protocol import Call

log = structlog.get_logger()

NOT_FOR_EMBEDDINGS = "its server is not for embeddings alone; a call for it becomes a job, which loads it in its turn"


class PastQueue:
    """Sends calls to the targets at once, about `concurrency` together, shared between models."""

    def __init__(self, fleet: Fleet, *, concurrency: int, timeout: Timeouts, warm: str = "") -> None:
        self._fleet = fleet
        self._slots = CallSlots(concurrency)
        self._under_way: Counter[str] = Counter()  # calls by target
        self._timeouts = timeout
        self._warm = warm

    def change(self, concurrency: int, timeouts: Timeouts) -> None:
        """Allow about so many calls together from now on, each with these timeouts."""
        self._timeouts = timeouts
        self._slots.resize(concurrency)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm the embedding model now and each time that a target comes back."""
        scopes: dict[Member, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                rearranged, members = self._fleet.rearranged, self._fleet.members if self._warm else ()
                for gone in [member for member in scopes if member not in members]:
                    scopes.pop(gone).cancel()
                for member in members:
                    if member not in scopes:
                        scopes[member] = trio.CancelScope()
                        nursery.start_soon(self._keep_warm, member, scopes[member])
                await rearranged.wait()

    async def _keep_warm(self, member: Member, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await member.inventory.wait_up()
                if member.serves(self._warm) or len(self._fleet.members) == 1:
                    await self._load(member)
                await member.inventory.wait_down()

    async def ask(self, call: Call, held: Lease | None = None) -> bytes | None:
        """Return a target's answer, a JSON object; None when the call belongs in the queue (see `Target.displaces`).

        `held` counts the bytes of the answer. The call ends after `attempt` seconds, waiting for a slot included.

        Raises:
            ModelNotFound, TargetDown: A reload took the model from the target, and no other has it.
            MemoryFull: The answer finds no room in the budget.
            TargetError: The target failed, or exceeded a timeout.
        """
        answer: bytes | None = None
        with trio.move_on_after(self._timeouts.attempt) as scope:
            async with self._slots.hold(model_of(call.key)):
                answer = await self._ask_one(call, held or Budget().lease())
        if scope.cancelled_caught:
            raise AttemptTimeout(self._timeouts.attempt)
        return answer

    async def _ask_one(self, call: Call, held: Lease) -> bytes | None:
        """Send the call to the least busy target that serves it.

        It goes on to the next one if there is no connection, or if the target has left or has the model no more.
        """
        tried: list[Member] = []
        failed: TargetError | None = None
        while True:
            serving = self._fleet.serving(call.key, call.endpoint) or self._fleet.serving(call.key)
            left = [member for member in serving or self._fleet.members if member not in tried]
            if not left and failed is not None:
                raise failed
            up = [member for member in left if member.inventory.up] or left
            left = [member for member in up if not member.drained] or up
            able = [member for member in left if not member.target.displaces(call)]
            if not able:
                return None
            member = min(able, key=self._load_of)
            tried.append(member)
            self._under_way[member.name] += 1
            try:
                return await self._ask(member, call, held)
            except TargetUnavailable as error:
                failed = error
                if len(left) == 1:
                    raise
                member.inventory.report_down(error)
            except (TargetDrained, ModelCrashed) as error:
                failed = error
                if isinstance(error, ModelCrashed) and self._fleet.get(member.name) is member:
                    raise
                await self._fleet.resolve(call.model)
            finally:
                self._under_way[member.name] -= 1

    def _load_of(self, member: Member) -> float:
        return (self._under_way[member.name] + member.worker.running) / member.slots

    async def _ask(self, member: Member, call: Call, held: Lease) -> bytes:
        """Send the call to one target, with the worker's timeouts."""
        target = member.target
        call = member.named(call)
        answer, size, timeout = at(call.endpoint).answer(target.name), 0, self._timeouts.first_chunk
        with trio.CancelScope() as scope:

            def heard() -> None:
                nonlocal timeout
                timeout = self._timeouts.stall
                scope.deadline = trio.current_time() + timeout

            await target.load(call)
            scope.deadline = trio.current_time() + timeout
            async with target.answer(msgspec.structs.replace(call, heard=heard, took=held.grow)) as chunks:
                async for chunk in chunks:
                    size += len(chunk.data)
                    if size > self._timeouts.max_answer:
                        raise AnswerTooLarge(self._timeouts.max_answer)
                    answer.add(chunk)
        if scope.cancelled_caught:
            raise TargetSilent(target.name, timeout)
        return answer.result()

    async def _load(self, member: Member) -> None:
        """Load the model with a small call, outside the call slots, so that callers do not wait for it."""
        payload = msgspec.json.encode({"model": self._warm, "input": "warm"})
        call = Call(model=self._warm, key=self._warm, endpoint="/api/embed", payload=payload)
        try:
            with trio.fail_after(self._timeouts.attempt):
                if member.target.displaces(call):
                    log.warning("cannot warm the embedding model", model=self._warm, why=NOT_FOR_EMBEDDINGS)
                    return
                await self._ask(member, call, Budget().lease())
        except (TargetError, trio.TooSlowError) as error:
            log.warning("cannot warm the embedding model", model=self._warm, why=str(error) or "it took too long")
        else:
            log.info("embedding model is warm", model=self._warm)
