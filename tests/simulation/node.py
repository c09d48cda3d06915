"""A machine with one node: its lives, and whether the others can have heard of it."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import trio

from foreman.config.settings import Settings
from foreman.domain.errors import Draining, StoreUnavailable
from foreman.domain.job import Instant
from tests.simulation.app import App, Disk
from tests.simulation.network import Network
from tests.simulation.receiver import ScriptedReceivers
from tests.simulation.shared_store import Server, SharedStore
from tests.simulation.standstill import Processes
from tests.simulation.target import ScriptedTarget
from tests.simulation.witness import Book, PowerCut


class Line(Disk):
    """A node's line to the server: its writer waits for it."""

    def __init__(self, machine: Machine, store: SharedStore) -> None:
        super().__init__(machine.dice)
        self._machine = machine
        self._store = store

    async def _take_time(self) -> None:
        hangs, self._store.hangs = self._store.hangs, 0.0
        if hangs:
            self._store.lost += 1
            try:
                with self._machine.trouble():
                    await trio.sleep(hangs)
            finally:
                self._store.lost -= 1
        await super()._take_time()


class NodeApp(App):
    """The program itself, with its HTTP server, over a store that others share."""

    def __init__(self, machine: Machine, store: SharedStore, receivers: ScriptedReceivers, patient: float) -> None:
        self._machine = machine
        super().__init__(
            cast(Any, store),
            machine.settings,
            machine.targets,
            receivers,
            machine.book,
            machine.dice,
            machine.clock,
            disk=Line(machine, store),
        )
        self.patient = patient
        store.ledger = self._app.queue._handlers._ledger

    @property
    def newest(self) -> int:
        """Return the newest event that its feed has."""
        return self.feed.newest

    def idle(self) -> str:
        """Return why a slot does not wait for work, or nothing."""
        ledger = self._app.queue._handlers._ledger
        waiting = [claim.target for claim in ledger.claims.waiting]
        found = [
            f"{member.name} has {member.slots} slots, {waiting.count(member.name)} of which claim"
            for member in self.fleet.members
            if waiting.count(member.name) != member.slots
        ]
        return ", ".join(found)

    async def run(self, nursery: trio.Nursery, listening: Any) -> None:
        """Start; the HTTP server listens there."""
        await self._app.start(nursery, listening)
        nursery.start_soon(self._follow_feed)
        nursery.start_soon(self._look_for_idle_slots)

    def _could_run(self) -> Iterator[tuple[str, str]]:
        if not self._machine.was_well_for(self.patient):
            return
        own = self.outlook.own_sites
        yield from ((job_id, name) for job_id, name in super()._could_run() if name in own)


class Machine:
    """What stays when the node's process ends."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        targets: Sequence[ScriptedTarget],
        server: Server,
        network: Network,
        processes: Processes,
        dice: random.Random,
        time: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self.targets = targets
        self.book: Book = server.book
        self.dice = dice
        self.skew = 0.0
        self.app: NodeApp | None = None
        self.store: SharedStore | None = None
        self.callers: trio.Nursery | None = None  # who ask this process
        self.cut_off = 0  # troubles because of which it cannot reach the server
        self._server = server
        self._network = network
        self._processes = processes
        self._time = time
        self._troubles = 1  # it is down
        self._since = math.inf  # when the last one was over
        self._nursery: trio.Nursery | None = None
        self._grace: float | None = None
        self._told = trio.Event()  # to drain
        self.left_at = math.inf  # when its process ended

    def clock(self) -> Instant:
        """Return the time by its own clock."""
        return self._server.clock() + self.skew

    # Whether the others hear of it.

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Count it as out of reach."""
        self._troubles += 1
        try:
            yield
        finally:
            self._troubles -= 1
            self._since = self._time()

    @property
    def is_up(self) -> bool:
        """Return True once its process serves."""
        return self.callers is not None and not self.callers._closed

    async def ask(self, question: Callable[[], Awaitable[None]]) -> None:
        """Have somebody ask the process, and wait for the answer or the end of the process."""
        answered = trio.Event()

        async def asking() -> None:
            try:
                await question()
            except (StoreUnavailable, Draining):
                pass
            finally:
                answered.set()

        assert self.callers is not None
        self.callers.start_soon(asking)
        await answered.wait()

    def was_well_for(self, seconds: float) -> bool:
        """Return True if nothing has kept it from writing for so long."""
        return not self._troubles and self._time() - self._since >= seconds

    @property
    def well_since(self) -> float:
        """Return since when nothing keeps it from writing, in the time that nobody sets."""
        return math.inf if self._troubles else self._since

    # Its process.

    async def live(self, receivers: ScriptedReceivers, patient: float, until: Callable[[], Awaitable[str]]) -> None:
        """Run the process until `until` returns, in the way that it says."""
        self._told, self._grace = trio.Event(), None
        ended = trio.Event()
        async with trio.open_nursery() as around:
            around.start_soon(self._process, receivers, patient, ended)
            how = await until()
            longest = 60.0
            if how in ("before", "after") and self.store is not None:
                self.store.fuse = cast(Any, how)
            elif how in ("drain", "crash"):
                self._grace = self.dice.choice([0.0, 5.0, 30.0])
                self._told.set()
                longest = 3600.0 if how == "drain" else self.dice.uniform(0, self._grace + 1)
            else:
                longest = 0.0
            with trio.move_on_after(longest) as late:
                await ended.wait()
            if late.cancelled_caught and how == "drain":
                self.book.complain(f"{self.name} does not end with {self._grace:g} s of grace")
            self.kill()
            await ended.wait()
            around.cancel_scope.cancel()

    def kill(self) -> None:
        """End the process at once."""
        if self.app is not None:
            self.app.disk.dead = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        self._processes.go_on(self.name)

    async def _process(self, receivers: ScriptedReceivers, patient: float, ended: trio.Event) -> None:
        with self._processes.process(self.name):
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    await self._run(nursery, receivers, patient)
            except* PowerCut:
                self.book.tally["crash"] += 1
            finally:
                self._troubles += self.app is not None
                if self.store is not None:
                    self.store.close()
                self.app = self.store = self.callers = self._nursery = None
                self.left_at = self._time()
                self._network.died(self.name)
                ended.set()

    async def _run(self, nursery: trio.Nursery, receivers: ScriptedReceivers, patient: float) -> None:
        while self._server.away or self.cut_off:  # noqa: ASYNC110, its supervisor starts it again and again
            await trio.sleep(1)
        self.store = store = SharedStore(self._server, self.name, lambda: self.cut_off > 0)
        with self._network.listening(self.name) as listening:
            self.app = app = NodeApp(self, store, receivers, patient)
            self._troubles -= 1
            self._since, self.left_at = self._time(), math.inf
            async with trio.open_nursery() as callers:
                await app.run(nursery, listening)
                self.callers = callers
                self.book.tally["started"] += 1
                await self._told.wait()
                assert self._grace is not None
                await app.drain(self._grace)
                callers.cancel_scope.cancel()
            store.leave()
            nursery.cancel_scope.cancel()
