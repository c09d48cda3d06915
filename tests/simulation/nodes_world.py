"""A history of several nodes that share one database: their lives, callers, trouble, and the judgement."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from foreman.actors import pruner
from foreman.config.settings import Settings
from foreman.domain.job import RUNNING, node_of
from foreman.domain.nodes import NodeState
from foreman.queue.commands import Resume
from tests.simulation.app import App
from tests.simulation.callers import Callers
from tests.simulation.followers import Followers
from tests.simulation.network import Network
from tests.simulation.node import Machine
from tests.simulation.receiver import MOODS, PER_RECEIVER, RECEIVERS, TOGETHER, ScriptedReceivers
from tests.simulation.shared_store import Server
from tests.simulation.standstill import Processes
from tests.simulation.target import MODELS, WAYS, WELL
from tests.simulation.witness import Book
from tests.simulation.world import HOUR, LIMIT, RARELY, StaticAnswer, World, only_errors, same_each_time

LEASE = 20.0  # seconds
TAKEN_OVER = LEASE + 15.0  # seconds after which nothing runs at a dead node any more, if another one is well
NEVER_SILENT = 15.0  # seconds; a node that has been well for so long is not evicted
LOOK = 5.0  # seconds between looks at what nobody should wait for
QUIET = 2 * HOUR  # within which all must have ended once nothing is in its way
LIFE = 500.0  # seconds, on average
HEARS = 5.0  # seconds within which a node that is well hears of the others' commits
ENDS = ["kill", "kill", "kill", "before", "after", "drain", "drain", "crash"]  # of a process
TTL = 900.0  # seconds for which ended jobs are kept


def simulate_nodes(seed: int, folder: Path) -> StaticAnswer:
    """Play the history of `seed` with 2 to 5 nodes. Raises Failed with all that was wrong."""
    world = NodesWorld(seed, folder)
    with (
        same_each_time(seed),
        patch.object(pruner, "ROUND", RARELY / 10),
        capture_logs(processors=[only_errors]) as errors,
    ):
        try:
            trio.run(world.run, clock=MockClock(autojump_threshold=0))
            world.hear(errors)
        except BaseException as error:
            error.add_note(f"play it again: python -m pytest tests/simulation/test_nodes.py --sim-seed {seed}")
            raise
    return world.told()


class NodesWorld(World):
    """Several machines, each with its node and its targets, and one database server."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.dice = dice = random.Random(seed)
        self.skew = self.began = 0.0
        self.book = Book(self.time, slots={}, limit=LIMIT)
        self.processes = Processes()
        self.network = Network(self.processes)
        self.path = folder / "server.db"
        self.server = Server(self.path, self.book, self.clock)
        self.server.may_evict = self._may_evict
        self.receivers = ScriptedReceivers(dice, self.book)
        self.asking = NodesCallers(dice, self.book, self.receivers, self.clock, far=600.0)
        self.callers = self.asking
        self.followers = Followers(dice, self.book)
        self.machines = [self._machine(name, models, folder) for name, models in self._models().items()]
        self.targets = [target for machine in self.machines for target in machine.targets]
        self.settings = self.machines[0].settings
        self.gap = dice.choice([4.0, 8.0, 20.0])
        self.lasts = dice.uniform(600, 1800)
        self.lost = dice.choice([None, dice.choice(self.machines)])  # one that does not come back in the end
        self.ending, self.over = trio.Event(), trio.Event()
        self.book.excused = self._excused

    def _models(self) -> dict[str, list[set[str]]]:
        """Return the models of each target by node; every model is at two nodes at least."""
        dice = self.dice
        nodes = [f"n{number}" for number in range(dice.randint(2, 5))]
        found = {
            name: [set(dice.sample(MODELS, dice.randint(1, len(MODELS)))) for _ in range(dice.choice([1, 1, 2]))]
            for name in nodes
        }
        for model in MODELS:
            for name in dice.sample(nodes, 2):
                dice.choice(found[name]).add(model)
        return found

    def _machine(self, name: str, models: list[set[str]], folder: Path) -> Machine:
        dice = self.dice
        slots = [dice.choice([1, 2, 4]) for _ in models]
        targets = [
            self._target(f"t{n}@{name}", slots[n], sorted(some), dice.choice([1, 1, 2]))
            for n, some in enumerate(models)
        ]
        given: dict[str, Any] = {
            "data_dir": folder / name,
            "database_url": "postgresql://127.0.0.1/queue",
            "node_name": name,
            "advertise_url": f"http://{name}",
            "lease": LEASE,
            "targets": [
                {
                    "name": f"t{n}",
                    "ollama_url": f"http://127.0.0.1:{9000 + n}",
                    "slots": slots[n],
                    "max_loaded": target.room().models,
                }
                for n, target in enumerate(targets)
            ],
            "max_queue": 80,
            "job_ttl": TTL,
            "starvation_limit": LIMIT,
            "attempt_timeout": 300,
            "first_chunk_timeout": 120,
            "stall_timeout": 90,
            "max_answer": 10_000,
            "poll_interval": 300,
            "retry_backoff_max": 60,
            "artifact_inline_limit": 16_384,
            "feed_history": 100,
            "webhook_retries": 4,
            "webhook_backoff_max": 60,
            "webhook_concurrency": TOGETHER,
            "webhook_per_receiver": PER_RECEIVER,
        }
        return Machine(name, Settings(**given), targets, self.server, self.network, self.processes, dice, self.time)

    # The history.

    async def run(self) -> None:
        """Play it, and judge."""
        self.began = trio.current_time()
        with self.processes.watched(), self.network.up():
            async with trio.open_nursery() as nursery:
                for machine in self.machines:
                    nursery.start_soon(self._keep, machine)
                async with trio.open_nursery() as busy:
                    busy.start_soon(self.asking.ask_any, self.machines, self.gap)
                    busy.start_soon(self._have_followed, nursery)
                    for _ in range(len(self.machines)):
                        busy.start_soon(self._trouble_nodes)
                    busy.start_soon(self._audit_now_and_then, self.server.store)
                    busy.start_soon(self._look)
                    await trio.sleep(self.lasts)
                    busy.cancel_scope.cancel()
                nursery.start_soon(self._look)
                await self._end_well_all()
                nursery.cancel_scope.cancel()
        self.server.store.close()
        self._speak_up()
        self.hours = self.time() / HOUR

    async def _keep(self, machine: Machine) -> None:
        """The lives of a node, one after another."""
        while not (self.ending.is_set() and machine is self.lost):
            seconds = self.dice.expovariate(1 / LIFE)
            receivers = NodeReceivers(self.dice, self.book, self.receivers)
            await machine.live(receivers, 2 * LIMIT, partial(self._end_of_life, machine, seconds))
            if self.over.is_set():
                return
            with trio.move_on_after(self.dice.choice([0.1, 1, 10, 40, 200])):
                await self.ending.wait()

    async def _end_of_life(self, machine: Machine, seconds: float) -> str:
        """Return how a process ends, once it does."""
        with trio.move_on_after(seconds):
            await self.ending.wait()
        if self.ending.is_set() and machine is not self.lost:
            await self.over.wait()
            return "drain"
        return self.dice.choice(ENDS)

    async def _have_followed(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self.dice.expovariate(1 / self.gap))
            job_id = self.followers.some()
            for _ in range(self.dice.choice([1, 1, 2])):
                nursery.start_soon(self.followers.follow, job_id, self.dice.choice(self.machines).name)

    # What goes wrong.

    async def _trouble_nodes(self) -> None:
        dice = self.dice
        every: dict[Callable[[], Awaitable[None]], int] = {
            self._server_away: 1,
            self._node_cut_off: 4,
            self._commit_in_doubt: 4,
            self._still: 6,
            self._network_cut: 4,
            self._target_away: 2,
            self._target_mute: 1,
            self._target_crashes: 1,
            self._models_change: 1,
            self._target_held: 1,
            self._moods_change: 2,
            self._slow: 1,
            self._full: 1,
            self._clock_set: 2,
            self._bug: 1,
            self._hooks: 4,
        }
        while True:
            await trio.sleep(dice.expovariate(1 / 60))
            [one] = dice.choices(list(every), list(every.values()))
            self.book.tally[f"trouble{one.__name__}"] += 1
            await one()

    async def _server_away(self) -> None:
        with ExitStack() as troubles:
            for machine in self.machines:
                troubles.enter_context(machine.trouble())
            self.server.away += 1
            try:
                await trio.sleep(self.dice.choice([1, 3, 15, 60]))
            finally:
                self.server.away -= 1

    async def _node_cut_off(self) -> None:
        machine = self.dice.choice(self.machines)
        with machine.trouble():
            machine.cut_off += 1
            try:
                await trio.sleep(self.dice.choice([1, 5, 18, 25, 60, 150]))
            finally:
                machine.cut_off -= 1

    async def _commit_in_doubt(self) -> None:
        machine, seconds = self.dice.choice(self.machines), self.dice.choice([0.2, 3.0, 19.0, 40.0, 90.0])
        if (store := machine.store) is None:
            return
        with machine.trouble():
            store.doubt = self.dice.random() < 0.5, seconds
            try:
                await trio.sleep(seconds + 10)
            finally:
                store.doubt = None

    async def _still(self) -> None:
        machine = self.dice.choice(self.machines)
        with machine.trouble():
            self.processes.stop(machine.name)
            try:
                await trio.sleep(self.dice.choice([2, 15, 30, 90, 300]))
            finally:
                self.processes.go_on(machine.name)

    async def _network_cut(self) -> None:
        one, other = (machine.name for machine in self.dice.sample(self.machines, 2))
        self.network.silent = self.dice.random() < 0.5
        self.network.cut(one, other)
        try:
            await trio.sleep(self.dice.choice([1, 15, 60]))
        finally:
            self.network.mend(one, other)

    async def _target_away(self) -> None:
        target = self.dice.choice(self.targets)
        target.up = False
        target.crash()
        await trio.sleep(self.dice.choice([1, 30, 120]))
        target.up = True

    async def _target_mute(self) -> None:
        target = self.dice.choice(self.targets)
        target.mute = True
        await trio.sleep(self.dice.uniform(1, 60))
        target.mute = False

    async def _target_crashes(self) -> None:
        self.dice.choice(self.targets).crash()

    async def _models_change(self) -> None:
        target = self.dice.choice(self.targets)
        own = target.models_of_its_own
        target.models_there = sorted(self.dice.sample(own, self.dice.randint(1, len(own))))
        await trio.sleep(self.dice.uniform(1, 600))
        target.models_there = list(own)

    async def _target_held(self) -> None:
        target = self.dice.choice(self.targets)
        machine = self._machine_of(target.name)
        if machine.is_up and machine.app is not None:
            await machine.ask(partial(machine.app.hold, target.name))
        await trio.sleep(self.dice.choice([1, 100]))
        if machine.is_up and machine.app is not None:
            await machine.ask(partial(machine.app.release, target.name))

    async def _moods_change(self) -> None:
        target = self.dice.choice(self.targets)
        target.ways = WELL if target.ways is WAYS else WAYS

    async def _slow(self) -> None:
        machine = self.dice.choice(self.machines)
        if (app := machine.app) is not None:
            app.disk.slow = True
            await trio.sleep(self.dice.choice([10, 120]))
            app.disk.slow = False

    async def _full(self) -> None:
        with ExitStack() as troubles:
            for machine in self.machines:
                troubles.enter_context(machine.trouble())
            self.server.store.full = True
            await trio.sleep(self.dice.uniform(1, 60))
            self.server.store.full = False

    async def _clock_set(self) -> None:
        self.dice.choice(self.machines).skew = self.dice.choice([-HOUR, 0.0, HOUR])

    async def _bug(self) -> None:
        self.dice.choice(self.targets).bug = True

    async def _hooks(self) -> None:
        self.receivers.moods[self.dice.choice(RECEIVERS)] = self.dice.choice(MOODS)

    # The judgement.

    def _machine_of(self, target: str) -> Machine:
        return next(machine for machine in self.machines if machine.name == node_of(target))

    def _may_evict(self, name: str) -> None:
        machine = next(machine for machine in self.machines if machine.name == name)
        self.book.tally["evicted"] += 1
        if machine.was_well_for(NEVER_SILENT):
            self.book.complain(f"{name} is evicted, and was well since {machine.well_since:g}")

    def _excused(self, target: str, since: float) -> bool:
        """Return True if a target's node may not have heard of a change."""
        return self._machine_of(target).well_since + HEARS >= since

    async def _look(self) -> None:
        """What a node left behind is taken over, if there is one that can."""
        while True:
            await trio.sleep(LOOK)
            if not any(machine.was_well_for(TAKEN_OVER) for machine in self.machines):
                continue
            for job_id, seen in self.book.jobs.items():
                if seen.state not in RUNNING:
                    continue
                gone = self.time() - self._machine_of(seen.target).left_at
                if gone > TAKEN_OVER and self.time() - seen.changed_at > TAKEN_OVER:
                    self.book.complain(f"{job_id} is {seen.state} at {seen.target}, which has ended {gone:g} s ago")

    async def _end_well_all(self) -> None:
        """With nothing in the way, all comes to its end."""
        store, self.server.away, self.server.store.full = self.server.store, 0, False
        for target in self.targets:
            target.ways, target.up, target.mute, target.bug = WELL, True, False, False
            target.models_there = list(target.models_of_its_own)
        self.receivers.moods = dict.fromkeys(RECEIVERS, "well")
        self.ending.set()
        left = [machine for machine in self.machines if machine is not self.lost]
        for machine in left:
            while not await self._opened(machine):  # noqa: ASYNC110, nobody tells
                await trio.sleep(1)
        with trio.move_on_after(QUIET):
            while self._unfinished(store) or self.followers.under_way.total():  # noqa: ASYNC110, the same
                await trio.sleep(10)
        for what in self._unfinished(store):
            self.book.complain(f"{what} never ends")
        for what in +self.followers.under_way:
            self.book.complain(f"the stream of {what} never ends")
        await trio.sleep(60)
        for machine in left:
            self._judge_quiet(machine)
        self._check_outbox(store)
        self._audit(store)
        self.over.set()
        while any(machine.app is not None for machine in left):  # noqa: ASYNC110, the same
            await trio.sleep(1)
        states = {node.name: node.state for node in self.server.roll.nodes.values()}
        if any(state is not NodeState.GONE for state in states.values()):
            self.book.complain(f"all have left, and the nodes are {states}")

    async def _opened(self, machine: Machine) -> bool:
        """Have a node and its targets take jobs; return False if it is not up, or did not do it, or died of it."""
        app, done = machine.app, False

        async def open_all() -> None:
            nonlocal done
            assert app is not None
            app.disk.slow = False
            await app.queue.ask(Resume())
            for target in machine.targets:
                await app.release(target.name)
            done = True

        if machine.is_up:
            await machine.ask(open_all)
        return done

    def _judge_quiet(self, machine: Machine) -> None:
        """A node with nothing to do knows that, and its slots wait for work."""
        app, roll = machine.app, self.server.roll
        if app is None:
            self.book.complain(f"{machine.name} is not up")
            return
        if idle := app.idle():
            self.book.complain(idle)
        if app.newest < len(self.book.history) and self.book.history[-1].job_id in self.book.jobs:
            self.book.complain(f"{machine.name} has heard of {app.newest} events of {len(self.book.history)}")
        if app.outlook.paused:
            self.book.complain(f"{machine.name} holds the queue to be paused")
        others = {node.name for node in roll.nodes.values() if node.state is NodeState.UP} - {machine.name}
        seen = {name for name, node in app.outlook.nodes_elsewhere.items() if node.state is NodeState.UP}
        if others != seen:
            self.book.complain(f"{machine.name} knows of {seen}, and there are {others}")
        if roll.coordinator not in {m.name for m in self.machines if m.app is not None}:
            self.book.complain(f"{roll.coordinator} coordinates, and is gone")


class NodesCallers(Callers):
    """Callers who go to any node."""

    async def ask_any(self, machines: Sequence[Machine], gap: float) -> None:
        """Ask something every `gap` seconds or so."""

        def some() -> tuple[App, trio.Nursery] | None:
            up = [(machine.app, machine.callers) for machine in machines if machine.is_up]
            return cast(Any, self._dice.choice(up)) if up else None

        await self._come(gap, some)

    async def look(self, app: App) -> None:
        """What a node has not heard of yet, it cannot place."""


class NodeReceivers(ScriptedReceivers):
    """The receivers as one node's sender reaches them."""

    def __init__(self, dice: random.Random, book: Book, common: ScriptedReceivers) -> None:
        super().__init__(dice, book)
        self._common = common
        self.taken, self.refused = common.taken, common.refused

    @property
    def moods(self) -> dict[str, str]:
        """Return those of all."""
        return self._common.moods

    @moods.setter
    def moods(self, moods: dict[str, str]) -> None:
        pass
