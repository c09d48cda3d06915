"""Several targets behind one queue, over a real store; with the autojump clock, nothing here waits for real."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import operating
from foreman.actors.attempt import Timeouts
from foreman.actors.auto_slots import AutoSlots
from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import PROBE_DEADLINE, Inventory
from foreman.actors.output import OutputHub
from foreman.actors.past_queue import PastQueue
from foreman.actors.worker import Worker
from foreman.config.target_settings import TargetSettings
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import AttemptTimeout, ModelNotFound, TargetDown, TargetUnavailable
from foreman.domain.job import Priority, State
from foreman.domain.nodes import DRAINED
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.choose import OrderRules
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Commit, Note, Submit, SubmitMany
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.protocol import Call
from tests.support.actors import EVEN, FakeTarget, chunk, draft, inline, now, saying, silent

GONE = TargetUnavailable("the target", "connection refused")


@dataclass
class FleetApp:
    store: SqliteWriter
    queue: QueueActor
    fleet: Fleet
    commits: list[Commit] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def on_commit(self, commit: Commit) -> None:
        self.commits.append(commit)
        self.news.set()
        self.news = trio.Event()

    async def submit(self, *models: str, first: int = 1) -> None:
        for number, model in enumerate(models, start=first):
            await self.queue.ask(Submit(draft=draft(number, model=model)))

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(1_000_000):
            while not condition():
                await self.news.wait()

    async def until_all_ended(self, count: int) -> None:
        await self.until(lambda: self.ends()[State.DONE] == count)
        assert sum(self.ends().values()) == count  # each once

    def ends(self) -> Counter[State]:
        return Counter(event.state for commit in self.commits for event in commit.events if event.state is State.DONE)

    def shares(self) -> Counter[str | None]:
        done = [e for commit in self.commits for e in commit.events if e.state is State.DONE]
        return Counter(event.target for event in done)


StartFleet = Callable[..., Awaitable[FleetApp]]


@pytest.fixture
def start_fleet(store: SqliteWriter, nursery: trio.Nursery) -> StartFleet:
    async def start(slots: dict[str, int] | None = None, grace: float = 30, **targets: FakeTarget) -> FleetApp:
        outlook = Outlook(OrderRules())
        rules = JobRules(backoff=Backoff(2, 300))
        queue = QueueActor(CommandHandlers(store, rules, outlook, clock=now, chance=lambda: EVEN), in_thread=inline)
        hub, members = OutputHub(None), []
        for name, target in targets.items():
            inventory = Inventory(target, queue, poll_interval=30, note=name)
            worker = Worker(
                queue, target, hub, inventory, outlook, name=name, auto=AutoSlots(slots=(slots or {}).get(name, 1)),
                grace=grace, clock=now, others=partial(_others, name, list(targets)),
            )  # fmt: skip
            members.append(Member(TargetSettings(name=name, managed=True), target, inventory, worker))
        fleet = Fleet(members, queue, drained=store.note(DRAINED))
        outlook.own_sites = {member.name: member for member in members}
        app = FleetApp(store, queue, fleet)
        for listener in (hub.on_commit, *(member.worker.on_commit for member in members), app.on_commit):
            queue.add_listener(listener)
        await nursery.start(queue.run)
        for member in members:
            await nursery.start(member.inventory.run)
            await nursery.start(member.worker.run)
        return app

    return start


def _others(name: str, names: list[str]) -> list[str]:
    return [other for other in names if other != name]


def taking(seconds: float, load_seconds: float = 0, **fields: object) -> FakeTarget:
    return FakeTarget([saying("x", seconds=seconds)], load_seconds=load_seconds, **fields)  # type: ignore[arg-type]


async def test_one_of_two_targets_dies_and_comes_back(start_fleet: StartFleet, autojump_clock: MockClock) -> None:
    one, two = taking(2, inventory=["m", "a"]), taking(2, inventory=["m"])
    app = await start_fleet(slots={"one": 2, "two": 2}, one=one, two=two)
    await app.submit(*["m"] * 40)
    await app.until(lambda: app.ends()[State.DONE] >= 10)
    two.down, two.scripts = GONE, [failing_with_gone]
    before = trio.current_time()
    await app.until_all_ended(40)
    assert trio.current_time() - before < 60
    two.down, two.scripts = None, [saying("x", seconds=2)]
    await app.fleet.members[1].inventory.wait_up()
    shares = app.shares()
    await app.submit(*["m"] * 40, "a", "a", first=41)
    await app.until_all_ended(82)
    later = app.shares() - shares
    assert min(later.values()) >= 8 and set(later) == {"one", "two"}
    job = app.store.job("081")
    assert job is not None and job.target == "one"  # the only one that has the model


async def failing_with_gone(call: Call) -> AsyncIterator[Chunk]:
    await trio.lowlevel.checkpoint()
    if call:
        raise GONE
    yield Chunk(b"")


async def test_interleaved_jobs_of_four_models_on_two_targets_cost_few_loads(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    one, two = taking(1, load_seconds=10), taking(1, load_seconds=10)
    app = await start_fleet(one=one, two=two)
    await app.submit(*["m", "a", "b", "c"] * 20)
    await app.until_all_ended(80)
    assert len(one.loads) + len(two.loads) <= 6
    assert min(app.shares().values()) >= 24


async def test_jobs_share_out_by_the_speed_of_targets(start_fleet: StartFleet, autojump_clock: MockClock) -> None:
    slots = {"one": 1, "two": 2, "four": 4, "eight": 8}
    targets = {name: taking(10) for name in slots}
    app = await start_fleet(slots=slots, **targets)
    began = trio.current_time()
    await app.submit(*["m"] * 200)
    await app.until_all_ended(200)
    greedy = 10 * -(-200 // sum(slots.values()))
    assert trio.current_time() - began <= 1.2 * greedy
    for name, share in app.shares().items():
        assert share == pytest.approx(200 * slots[str(name)] / 15, rel=0.2, abs=2)


async def test_rare_calls_for_another_model_leave_a_batch_most_of_its_throughput_and_seldom_wait(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    load, seconds, period = 4.0, {"a": 2.0, "b": 1.0}, 1200.0
    waits: list[float] = []

    async def work(call: Call) -> AsyncIterator[Chunk]:
        if call.key == "b":
            waits.append(trio.current_time() - asked.pop(0))
        await trio.sleep(seconds[call.key])
        yield chunk(last=True)

    app = await start_fleet(one=FakeTarget([work], load_seconds=load))
    began, asked = trio.current_time(), []
    await app.queue.ask(SubmitMany(drafts=[draft(number, "a") for number in range(1000, 2000)]))
    for number in range(1, int(period / 20)):
        await trio.sleep_until(began + 20 * number)
        asked.append(trio.current_time())
        await app.queue.ask(Submit(draft=draft(number, "b", priority=Priority.HIGH)))
    await trio.sleep_until(began + period)
    done = Counter(e.model for commit in app.commits for e in commit.events if e.state is State.DONE)
    assert done["a"] * seconds["a"] / period >= 0.6
    assert done["b"] >= 50 and median(waits) < 1.5 * load


async def test_a_drained_target_gives_its_jobs_back_after_the_grace(
    start_fleet: StartFleet, store: SqliteWriter, autojump_clock: MockClock
) -> None:
    one, two = FakeTarget([silent()], inventory=["m"]), taking(1, inventory=["m"])
    app = await start_fleet(grace=7, one=one, two=two)
    two.down = GONE
    app.fleet.members[1].inventory.report_down(GONE)
    await app.submit("m")
    await app.until(lambda: (job := store.job("001")) is not None and job.state is State.WORKING)
    two.down = None
    await app.fleet.members[1].inventory.wait_up()
    began = trio.current_time()
    await app.fleet.drain(app.fleet.members[0])
    await app.until_all_ended(1)
    job = store.job("001")
    assert job is not None and (job.target, job.attempt) == ("two", 1)
    assert trio.current_time() - began == pytest.approx(8)
    assert store.note(DRAINED) == '["one"]'
    await app.submit("m", first=2)
    await app.until_all_ended(2)
    one.scripts = [saying("x")]
    two.down = GONE
    app.fleet.members[1].inventory.report_down(GONE)
    await app.submit("m", first=3)
    await trio.sleep(100)
    assert app.ends()[State.DONE] == 2
    await app.fleet.resume(app.fleet.members[0])
    await app.until_all_ended(3)
    assert store.note(DRAINED) == "[]"


@pytest.mark.parametrize("again", [False, True], ids=["resumed", "resumed and drained again"])
async def test_a_target_that_is_resumed_within_the_grace_keeps_its_jobs(
    start_fleet: StartFleet, again: bool, autojump_clock: MockClock
) -> None:
    app = await start_fleet(grace=10, one=taking(15))
    await app.submit("m")
    await app.until(lambda: app.fleet.members[0].worker.running == 1)
    member = app.fleet.members[0]
    await app.fleet.drain(member)
    await trio.sleep(9)
    if again:  # before anybody has heard of the other, and with a grace of its own
        member.worker.claim_again()
        await app.fleet.drain(member)
    else:
        await app.fleet.resume(member)
    await app.until_all_ended(1)
    assert [event.state.value for event in app.store.events(limit=9)] == ["queued", "loading", "working", "done"]


async def test_a_target_stays_drained_over_a_restart(
    start_fleet: StartFleet, store: SqliteWriter, autojump_clock: MockClock
) -> None:
    with store.transaction():
        store.set_note(DRAINED, '["one", "no more"]')
    app = await start_fleet(one=taking(1), two=taking(1))
    assert [member.drained for member in app.fleet.members] == [True, False]
    await app.submit(*["m"] * 5)
    await app.until_all_ended(5)
    assert app.shares() == {"two": 5}


async def test_a_drained_targets_worker_ends_when_the_process_drains(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    app = await start_fleet(one=FakeTarget([silent()]))
    await app.submit("m")
    await app.until(lambda: app.fleet.members[0].worker.running == 1)
    await app.fleet.drain(app.fleet.members[0])
    began = trio.current_time()
    await app.fleet.members[0].worker.drain(5)
    assert trio.current_time() - began <= 5


async def test_names_are_found_on_targets_that_are_up_first(start_fleet: StartFleet, autojump_clock: MockClock) -> None:
    one, two = FakeTarget(inventory=["m", "old"]), FakeTarget(inventory=["m", "new"])
    app = await start_fleet(one=one, two=two)
    assert [model.name for model in app.fleet.models()] == ["m", "old", "new"]
    assert [member.name for member in app.fleet.serving("m")] == ["one", "two"]
    one.down = GONE
    app.fleet.members[0].inventory.report_down(GONE)
    assert [member.name for member in app.fleet.serving("m")] == ["two", "one"]
    assert (await app.fleet.resolve("old")).name == "old"  # accepted, and waits
    with pytest.raises(TargetDown):
        await app.fleet.resolve("nowhere")
    one.down = None
    await app.fleet.members[0].inventory.wait_up()
    with pytest.raises(ModelNotFound, match="model not found"):
        await app.fleet.resolve("nowhere")


async def test_a_model_that_several_targets_have_is_listed_once(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    one, two = (
        FakeTarget(inventory=["m", "a:latest", "b", "b:latest"]),
        FakeTarget(inventory=["m:latest", "a", "c", "b"]),
    )
    app = await start_fleet(one=one, two=two)
    assert [model.name for model in app.fleet.models()] == ["m", "a:latest", "b", "b:latest", "c"]


async def test_a_target_that_is_silent_holds_up_no_name_of_another(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    silent_one, two = FakeTarget(inventory=["old"]), FakeTarget(inventory=["m"])
    app = await start_fleet(one=silent_one, two=two)
    silent_one.slow = 10**6
    app.fleet.look()
    before = trio.current_time()
    assert (await app.fleet.resolve("m")).name == "m"
    assert trio.current_time() == before
    two.inventory.append("new")
    assert (await app.fleet.resolve("new")).name == "new"
    assert trio.current_time() - before <= 2 * PROBE_DEADLINE


async def test_calls_past_the_queue_go_to_the_least_busy_target_and_on_to_the_next_one(
    start_fleet: StartFleet, autojump_clock: MockClock
) -> None:
    vector = Chunk(b'{"embeddings":[[1.0]]}', last=True)

    async def answer(call: Call) -> AsyncIterator[Chunk]:
        await trio.sleep(1)
        yield vector

    one, two = FakeTarget([answer]), FakeTarget([answer])
    app = await start_fleet(one=one, two=two)
    past_queue = PastQueue(app.fleet, concurrency=8, timeout=Timeouts())
    call = Call(model="m", key="m", endpoint="/api/embed", payload=b"{}")
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(past_queue.ask, call)
    assert (len(one.answered), len(two.answered)) == (3, 3)
    one.down = GONE
    for _ in range(3):
        assert await past_queue.ask(call) == b'{"embeddings":[[1.0]]}'
    assert len(two.answered) == 6 and not app.fleet.members[0].inventory.up
    two.down = GONE
    with pytest.raises(TargetUnavailable):
        await past_queue.ask(call)


async def test_a_payload_gets_a_name_that_the_target_knows(
    start_fleet: StartFleet, store: SqliteWriter, autojump_clock: MockClock
) -> None:
    one = FakeTarget(inventory=["m"])
    app = await start_fleet(one=one)
    await app.queue.ask(Submit(draft=draft(1, model="m:latest", key="m:latest", payload=b'{"model":"m:latest","x":1}')))
    await app.until_all_ended(1)
    assert one.answered == ['{"model":"m","x":1}']
    await app.queue.ask(Note(name="x", value="y"))


async def test_an_order_to_a_target_ends_in_time(start_fleet: StartFleet, autojump_clock: MockClock) -> None:
    one = FakeTarget([silent()], load_seconds=10**6)
    app = await start_fleet(one=one)
    with pytest.raises(AttemptTimeout):
        await operating.load(app.fleet.members[0], "m", within=50)
    with pytest.raises(AttemptTimeout):
        await operating.unload(app.fleet.members[0], "m", within=50)
    assert trio.current_time() == 100
    one.load_seconds = 1
    await operating.load(app.fleet.members[0], "m", within=50)
    assert one.loads == ["m"]
