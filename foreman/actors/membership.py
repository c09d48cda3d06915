"""Membership: what this node tells the others that share its store, for as long as it is one of them."""

from __future__ import annotations

import msgspec
import structlog
import trio

from foreman.actors.fleet import Fleet, Member
from foreman.domain.endpoints import EVERY
from foreman.domain.errors import StoreUnavailable
from foreman.domain.nodes import NodeState, TargetReport
from foreman.queue.commands import Beat, Queue

log = structlog.get_logger()

BEAT_EVERY = 3.0  # seconds between heartbeats


class Membership:
    """A node's place in the fleet. Its heartbeat goes the way of all writes, so that it shows that those work."""

    def __init__(self, fleet: Fleet, queue: Queue) -> None:
        self._fleet = fleet
        self._queue = queue
        self._state = NodeState.UP

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell the others every BEAT_EVERY seconds how this node is, for ever."""
        due = trio.current_time()
        task_status.started()
        while True:
            await self._beat()
            due = max(due + BEAT_EVERY, trio.current_time())  # from the last one's time, or each would be later
            await trio.sleep_until(due)

    async def drain(self) -> None:
        """Tell the others that this node claims no more jobs."""
        self._state = NodeState.DRAINING
        await self._beat()

    async def leave(self) -> None:
        """Tell the others that this node is gone; it has no jobs any more."""
        self._state = NodeState.GONE
        await self._beat()

    async def _beat(self) -> None:
        leaving = self._state is not NodeState.UP
        reports = [report_of(member, leaving=leaving) for member in self._fleet.members]
        try:
            await self._queue.ask(Beat(targets=reports, state=self._state))
        except StoreUnavailable as error:
            log.warning("cannot tell the other nodes of this one", why=str(error))


def report_of(member: Member, *, leaving: bool = False) -> TargetReport:
    """Return what the other nodes need to know of a target; one that goes with its node is not being replaced."""
    models, target = member.inventory.models, member.target
    names = [name for model in models for name in (model.name, *model.aliases)]
    return TargetReport(
        name=member.name,
        slots=member.slots,
        open=member.open,
        models_known=member.inventory.models_known if leaving else member.models_known,
        is_ollama=target.ollama_api is not None,
        models=frozenset(form.removesuffix(":latest") for name in names for form in (name, target.same(name))),
        endpoints=frozenset(path for path in EVERY if target.serves(path)),
        loaded=tuple(member.in_memory()),
        listing=msgspec.Raw(msgspec.json.encode(models)),
        room=member.room(),
    )
