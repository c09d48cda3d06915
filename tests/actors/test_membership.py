"""Nodes that share a store, each with its actors and a target; with the autojump clock, nothing here waits for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.auto_slots import AutoSlots
from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import Inventory
from foreman.actors.membership import Membership
from foreman.actors.output import OutputHub
from foreman.actors.worker import Worker
from foreman.config.target_settings import TargetSettings
from foreman.domain.errors import StoreAway
from foreman.domain.job import JobEvent, State
from foreman.domain.nodes import NodeState
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.choose import OrderRules
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Cancel, Commit, Submit
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import EVEN, FakeTarget, draft, inline, now, saying
from tests.support.shared import NodeStore, Roll

LEASE = 20.0


@dataclass
class Node:
    """One node with its actors."""

    store: NodeStore
    queue: QueueActor
    handlers: CommandHandlers
    worker: Worker
    membership: Membership
    target: FakeTarget
    stop: trio.CancelScope
    commits: list[Commit] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def on_commit(self, commit: Commit) -> None:
        self.commits.append(commit)
        self.news.set()
        self.news = trio.Event()

    async def submit(self, *numbers: int, model: str = "m") -> None:
        for number in numbers:
            await self.queue.ask(Submit(draft=draft(number, model=model)))

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(1_000_000):
            while not condition():
                await self.news.wait()

    async def until_done(self, count: int) -> None:
        await self.until(lambda: sum(event.state is State.DONE for event in self.heard()) >= count)

    def heard(self) -> list[JobEvent]:
        return [event for commit in self.commits for event in commit.all_events]

    def done_here(self) -> int:
        return sum(event.state is State.DONE for commit in self.commits for event in commit.events)


StartNode = Callable[..., Awaitable[Node]]


@pytest.fixture
def roll() -> Roll:
    return Roll()


@pytest.fixture
def start_node(store: SqliteWriter, roll: Roll, nursery: trio.Nursery) -> StartNode:
    async def start(name: str, target: FakeTarget, slots: int = 1) -> Node:
        shared, outlook, known = NodeStore(store, name, roll, now()), Outlook(OrderRules()), f"t@{name}"
        rules = JobRules(backoff=Backoff(2, 300), lease=LEASE)
        handlers = CommandHandlers(shared, rules, outlook, clock=now, chance=lambda: EVEN, node=name)
        queue = QueueActor(handlers, in_thread=inline)
        inventory = Inventory(target, queue, poll_interval=30, note=known)
        worker = Worker(
            queue, target, OutputHub(None), inventory, outlook, name=known, auto=AutoSlots(slots=slots), clock=now
        )
        settings = TargetSettings(name="t", managed=True).model_copy(update={"name": known})
        member = Member(settings, target, inventory, worker)
        outlook.own_sites = {known: member}
        membership = Membership(Fleet([member], queue), queue)
        node = Node(shared, queue, handlers, worker, membership, target, trio.CancelScope())
        for listener in (worker.on_commit, node.on_commit):
            queue.add_listener(listener)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with node.stop:
                async with trio.open_nursery() as actors:
                    for actor in (queue.run, inventory.run, membership.run, worker.run):
                        await actors.start(actor)
                    task_status.started()

        await nursery.start(run)
        return node

    return start


def taking(seconds: float, load_seconds: float = 0, models: str = "m") -> FakeTarget:
    script = saying("x", seconds=seconds)
    return FakeTarget([script], load_seconds=load_seconds, inventory=list(models))


async def test_jobs_submitted_at_any_node_run_at_all(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b, c = [await start_node(name, taking(10)) for name in "abc"]
    began = trio.current_time()
    await a.submit(*range(1, 31))
    for node in (a, b, c):
        await node.until_done(30)
    assert trio.current_time() - began < 110
    assert min(node.done_here() for node in (a, b, c)) >= 8
    assert a.heard() == c.heard()


async def test_a_job_runs_at_the_node_that_serves_its_model(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b = await start_node("a", taking(1)), await start_node("b", taking(1, models="a"))
    await trio.sleep(4)
    await a.submit(1, model="a")
    await a.until_done(1)
    assert b.done_here() == 1


async def test_a_node_that_joins_knows_the_others_at_once(start_node: StartNode, autojump_clock: MockClock) -> None:
    await start_node("b", taking(1))
    await trio.sleep(4)
    outlook = (await start_node("a", taking(1))).handlers.outlook
    assert list(outlook.nodes_elsewhere) == ["b"]
    assert list(outlook.sites_elsewhere) == ["t@b"]


async def test_few_loads_for_models_that_alternate(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b = [await start_node(name, taking(1, load_seconds=10, models="abm")) for name in "ab"]
    await trio.sleep(4)
    for number in range(1, 41):
        await (a, b)[number % 2].submit(number, model="am"[number // 2 % 2])
    await a.until_done(40)
    assert len(a.target.loads) + len(b.target.loads) <= 4


async def test_a_node_that_dies_loses_nothing(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b = await start_node("a", taking(5)), await start_node("b", taking(5))
    await a.submit(*range(1, 11))
    await trio.sleep(7)
    b.stop.cancel()
    began = trio.current_time()
    await a.until(lambda: any(event.state is State.QUEUED and event.previous for event in a.heard()))
    assert trio.current_time() - began <= LEASE + 5
    await a.until_done(10)
    assert sum(event.state is State.DONE for event in a.heard()) == 10
    assert [node.state for node in a.store.nodes()] == [NodeState.UP, NodeState.GONE]


async def test_a_node_that_was_cut_off_stops_what_others_took_over(
    start_node: StartNode, autojump_clock: MockClock
) -> None:
    a, b = await start_node("a", taking(100, models="mb")), await start_node("b", taking(100, models="mb"))
    await a.submit(1)
    await a.submit(2, model="b")
    await trio.sleep(5)
    assert (a.target.together, b.target.together) == (1, 1)
    b.store.away = True
    await trio.sleep(60)
    assert b.target.together == 1  # it goes on, since it may be the only one that is left
    b.store.away = False
    await trio.sleep(5)
    assert b.target.left_early == 1
    await a.until_done(2)
    assert [node.state for node in a.store.nodes()] == [NodeState.UP, NodeState.UP]


async def test_a_cancel_at_one_node_stops_the_job_at_another(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b = await start_node("a", taking(1, models="a")), await start_node("b", taking(100))
    await trio.sleep(4)
    await a.submit(1)
    await trio.sleep(1)
    assert b.target.together == 1
    await a.queue.ask(Cancel(job_id="001"))
    await trio.sleep(0.2)
    assert b.target.together == 0


async def test_nothing_is_judged_while_the_server_was_away_for_all(
    start_node: StartNode, autojump_clock: MockClock
) -> None:
    a, b = await start_node("a", taking(300, models="mb")), await start_node("b", taking(300, models="mb"))
    await a.submit(1)
    await a.submit(2, model="b")
    await trio.sleep(5)
    assert (a.target.together, b.target.together) == (1, 1)
    a.store.away = b.store.away = True
    await trio.sleep(200)
    a.store.away = b.store.away = False
    await a.until_done(2)
    assert all(event.attempt <= 1 for event in a.heard())


async def test_a_node_leaves_its_jobs_to_the_others(start_node: StartNode, autojump_clock: MockClock) -> None:
    a, b = await start_node("a", taking(50, models="mb")), await start_node("b", taking(50, models="mb"))
    await a.submit(1)
    await a.submit(2, model="b")
    await trio.sleep(5)
    assert (a.target.together, b.target.together) == (1, 1)
    await b.membership.drain()
    await b.worker.drain(grace=1)
    await b.membership.leave()
    b.stop.cancel()
    assert [node.state for node in a.store.nodes()] == [NodeState.UP, NodeState.GONE]
    await a.until_done(2)
    job = a.store.job("002")
    assert (job.target, job.attempt) == ("t@a", 1)


async def test_a_job_is_run_that_is_claimed_again_after_its_first_claim_was_not_stored(
    start_node: StartNode, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction that claims it again is also the one that finds the first claim missing in the store."""
    a, b = await start_node("a", taking(1)), await start_node("b", taking(1, models="b"))
    await trio.sleep(4)
    lost: list[str] = []

    def lose(wrote: bool) -> None:
        if wrote and not lost:
            lost.extend(a.handlers._ledger.running)
            raise StoreAway("the connection was lost, and the commit with it")

    monkeypatch.setattr(a.store, "_may_fail", lose)
    await b.submit(1)
    with trio.fail_after(60):
        await a.until_done(1)
    assert lost == ["001"]
    assert [event.state for event in a.heard()] == ["queued", "loading", "working", "done"]


async def test_a_model_that_no_node_had_is_not_waited_for_once_one_has_left(
    start_node: StartNode, autojump_clock: MockClock
) -> None:
    a, b = await start_node("a", taking(1)), await start_node("b", taking(1))
    await trio.sleep(4)
    await b.membership.drain()
    await b.worker.drain(grace=1)
    await b.membership.leave()
    b.stop.cancel()
    await a.submit(1, model="z")
    with trio.fail_after(60):
        await a.until_done(1)
    assert a.done_here() == 1


async def test_a_node_beats_also_while_the_store_is_away_now_and_then(
    start_node: StartNode, autojump_clock: MockClock
) -> None:
    a, b = await start_node("a", taking(1)), await start_node("b", taking(1))
    for _ in range(20):
        a.store.away = b.store.away = True
        await trio.sleep(5)
        a.store.away = b.store.away = False
        await trio.sleep(8)
    assert [node.state for node in a.store.nodes()] == [NodeState.UP, NodeState.UP]
