"""The child servers of a managed target: each is started for a call, and ends for others or with its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
import trio

from foreman.config.managed_model import ManagedModel
from foreman.domain.errors import ModelCrashed, Shortage
from foreman.domain.job import LoadKey
from foreman.targets.managed import leash
from foreman.targets.managed.child import Child
from foreman.targets.managed.eviction import in_the_way
from foreman.targets.managed.roster import Place, Roster, place_of, same_server

log = structlog.get_logger()

Find = Callable[[], ManagedModel]  # looks a model up once more, and raises when it is gone


class Children:
    """The servers of one target; as many run together as its roster has room for."""

    def __init__(self, roster: Roster, logs: Path) -> None:
        """Write the output of the servers to the folder `logs`."""
        self.roster = roster
        self.latest: dict[Place, Child] = {}
        self.last_key: LoadKey | None = None  # of the last call, or of the first chat model that was preloaded
        self._logs = logs
        self._owner = ""
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._swap = trio.Lock()
        self._rested = trio.Event()  # replaced each time that a child has no more calls, or has ended

    async def run(self, owner: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the servers until cancelled; first kill those of an earlier run, which are marked with `owner`."""
        self._owner = owner
        if left := await trio.to_thread.run_sync(leash.kill_left_behind, f"{leash.OWNER}={owner}"):
            log.warning("ended what servers of an earlier run left behind", processes=left)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._running.set()
                task_status.started()
                await self._preload_all(self.roster.models)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._running = trio.Event()
            self.latest.clear()
            self.last_key = None

    @property
    def running(self) -> list[Child]:
        """Return those that have not ended."""
        return [child for child in self.latest.values() if not child.ended]

    def of(self, model: ManagedModel | None) -> Child | None:
        """Return the latest server of a model, if it has not ended."""
        return self.latest.get(place_of(model)) if model else None

    def would_displace(self, model: ManagedModel) -> bool:
        """Return True if starting its server now could end another one.

        Without a budget it is True of any start: a job may be about to load another model in the only place.
        """
        child = self.of(model)
        if child is not None and child.usable:
            return False
        return not self.roster.budgeted or bool(in_the_way(model, self.running, self.roster))

    async def ready(self, find: Find) -> Child:
        """Return the server of a model once it can answer; start it, in place of others if need be.

        `find` is called after each wait, so that a change of the models counts. Raise ModelCrashed, Shortage, and
        what `find` raises.
        """
        while True:
            child = await self._chosen(find)
            try:
                await child.wait_ready()
            except (ModelCrashed, Shortage):
                if not child.dismissed:
                    raise
                continue
            await child.wait_trusted()
            if not (child.stopping or child.dismissed):
                return child

    def change(self, roster: Roster) -> None:
        """Take over another roster at once.

        A server goes on if its model is the same. Else it is dismissed, as is what no longer fits beside the others.
        """
        before, self.roster = self.roster, roster
        for child in self.running:
            model = roster.at(place_of(child.model))
            if model is not None and same_server(model, child.model):
                child.model = model
            else:
                child.dismiss()
        for child in in_the_way(None, [child for child in self.running if not child.dismissed], roster):
            child.dismiss()
        self._at_rest()  # who waits for room looks again
        if self._nursery is not None:
            self._nursery.start_soon(self._preload_all, [one for one in roster.models if one not in before.models])

    def end(self) -> None:
        """Have each server end with its answers. `find` of the calls that wait is called once more, and must raise."""
        self.change(Roster([], None))
        self._running.set()

    async def wait_ended(self) -> None:
        """Return once no server runs."""
        while self.running:
            await self._rested.wait()

    async def _chosen(self, find: Find) -> Child:
        child = self.of(find())
        if child is not None and child.usable:
            return child
        async with self._swap:  # only for the choice; all calls for the same child then wait for it together
            while True:
                await self._running.wait()
                model, roster = find(), self.roster
                child = self.of(model)
                if child is not None and child.usable:
                    return child
                await self._make_room(model)
                if self.roster is roster and self._nursery is not None:
                    return self._start(model, self._nursery)

    async def _make_room(self, model: ManagedModel) -> None:
        """Stop what must make room for the model, as soon as no call uses it; calls for it wait behind this one.

        Return early when the roster has changed.
        """
        roster = self.roster
        try:
            while self.roster is roster and (going := in_the_way(model, self.running, roster)):
                for child in self.latest.values():
                    child.leaving = child.stopping or child in going
                rested = self._rested  # before the look at what is in use
                unused = [child for child in going if not child.in_use]
                for child in unused:
                    child.abandon()
                await (unused[0].wait_ended() if unused else rested.wait())
        finally:
            for child in self.latest.values():
                child.leaving = child.stopping  # usable again if this was cancelled, or another one made room

    def _at_rest(self) -> None:
        self._rested.set()
        self._rested = trio.Event()

    async def _preload_all(self, models: Sequence[ManagedModel]) -> None:
        for model in models:
            if model.preload:
                await self._preload(model)

    async def _preload(self, model: ManagedModel) -> None:
        """Start the server of a model if there is room for it now, and wait until it is ready or has failed."""
        while (child := self.of(model)) and child.dismissed and not child.ended:
            await child.wait_ended()
        async with self._swap:
            if self._nursery is None or model not in self.roster.models:
                return
            if (child := self.of(model)) and child.usable:
                return
            if in_the_way(model, self.running, self.roster):
                log.warning("a model is not preloaded: there is no room beside the others", model=model.name)
                return
            child = self._start(model, self._nursery)
        await child.wait_settled()
        if not (child.ready or child.stopping):
            log.warning("a model could not be preloaded", model=model.name, why=str(child.crash()))
        elif self.last_key is None and child.ready and not model.embedding:
            self.last_key = model.name

    def _start(self, model: ManagedModel, nursery: trio.Nursery) -> Child:
        child = self.latest[place_of(model)] = Child(model, self._logs, owner=self._owner, at_rest=self._at_rest)
        nursery.start_soon(self._keep, child)
        return child

    async def _keep(self, child: Child) -> None:
        async with trio.open_nursery() as nursery:
            if child.model.ttl:
                nursery.start_soon(_retire_when_idle, child)
            await child.run()
            nursery.cancel_scope.cancel()
        if self.latest.get(place_of(child.model)) is child:
            del self.latest[place_of(child.model)]


async def _retire_when_idle(child: Child) -> None:
    await child.wait_idle(child.model.ttl)
    child.abandon()
