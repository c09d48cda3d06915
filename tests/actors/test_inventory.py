"""The inventory: which models there are, and whether the target is there."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.inventory import MISSED, NOTE, Inventory
from foreman.domain.errors import ModelNotFound, TargetDown, TargetUnavailable
from foreman.queue.commands import Message
from foreman.targets.protocol import Model
from tests.support.actors import FakeTarget, fleet_of

GONE = TargetUnavailable("the target", "connection refused")


class StaticAnswer:
    """A queue that only listens."""

    def __init__(self) -> None:
        self.messages: list[Message[object]] = []

    async def ask(self, message):  # type: ignore[no-untyped-def]
        self.messages.append(message)

    tell = ask


Start = Callable[..., Awaitable[Inventory]]


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget(inventory=["m", "n"])


@pytest.fixture
def queue() -> StaticAnswer:
    return StaticAnswer()


@pytest.fixture
def start(target: FakeTarget, queue: StaticAnswer, nursery: trio.Nursery) -> Start:
    async def started(remembered: str | None = None) -> Inventory:
        inventory = Inventory(target, queue, poll_interval=30, remembered=remembered)
        await nursery.start(inventory.run)
        return inventory

    return started


async def test_a_healthy_target_is_asked_at_every_interval(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    await trio.sleep(95)
    assert target.probes == pytest.approx([0, 30, 60, 90])
    assert (inventory.up, inventory.error) == (True, None)


async def test_a_target_that_is_away_is_asked_every_second_until_it_is_back(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    target.down = GONE
    inventory = await start()
    assert (inventory.up, inventory.error) == (False, GONE)
    await trio.sleep(4.5)
    assert target.probes == pytest.approx([0, 1, 2, 3, 4])
    assert inventory.away_seconds == pytest.approx(4.5)
    target.down = None
    await inventory.wait_up()
    assert trio.current_time() == pytest.approx(5)
    assert inventory.error is None and inventory.away_seconds is None


async def test_while_somebody_looks_a_target_is_asked_once_a_second_however_many_they_are(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    await trio.sleep(10)
    for _ in range(9):  # four times a second, for two seconds
        inventory.look()
        inventory.look()
        await trio.sleep(0.25)
    assert target.probes == pytest.approx([0, 10, 11, 12])
    target.down = GONE
    await trio.sleep(1)
    inventory.look()
    await inventory.wait_down()
    assert trio.current_time() == pytest.approx(13.25)
    target.down = None
    await inventory.wait_up()
    await trio.sleep(95)  # nobody looks any more
    assert target.probes == pytest.approx([0, 10, 11, 12, 13.25, 14.25, 44.25, 74.25, 104.25])


async def test_a_target_that_owes_an_answer_is_silent_until_it_gives_one(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    await trio.sleep(10)
    target.slow = 3
    inventory.look()
    await trio.sleep(2)
    assert inventory.up
    assert inventory.silent == pytest.approx(2)
    await trio.sleep(2)
    assert (inventory.up, inventory.silent) == (True, 0)


async def test_what_the_worker_saw_counts_at_once(start: Start, target: FakeTarget, autojump_clock: MockClock) -> None:
    inventory = await start()
    await trio.sleep(10)
    inventory.report_down(GONE)
    assert not inventory.up
    await inventory.wait_up()
    assert trio.current_time() == pytest.approx(11)


async def test_a_target_that_does_not_answer_the_probe_is_away(
    start: Start, target: FakeTarget, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "models", trio.sleep_forever)
    inventory = await start()
    assert "no answer within 5 s" in str(inventory.error)
    assert trio.current_time() == pytest.approx(5)


async def test_an_unknown_model_is_asked_for_once_more(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    target.inventory.append("new")
    assert (await fleet_of((target, inventory)).resolve("new")).name == "new"
    await trio.sleep(MISSED)
    with pytest.raises(ModelNotFound) as error:
        await fleet_of((target, inventory)).resolve("nowhere")
    assert "m, n, new" in str(error.value.hint)
    assert len(target.probes) == 3


async def test_names_nobody_knows_have_the_target_asked_once_however_many_they_are(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    target.slow = 0.5

    async def miss(name: str) -> None:
        with pytest.raises(ModelNotFound):
            await fleet_of((target, inventory)).resolve(name)

    async with trio.open_nursery() as nursery:  # at once
        for number in range(500):
            nursery.start_soon(miss, f"at once {number}")
    for number in range(500):  # and one after the other
        await miss(f"later {number}")
    assert len(target.probes) == 2
    await trio.sleep(MISSED)
    await miss("once more")
    assert len(target.probes) == 3


async def test_who_misses_a_name_and_leaves_takes_no_answer_from_the_others(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    target.inventory.append("new")
    target.slow = 0.5
    with trio.move_on_after(0.1):
        await fleet_of((target, inventory)).resolve("new")
    assert (await fleet_of((target, inventory)).resolve("new")).name == "new"


async def test_what_is_shown_of_the_models_is_made_once_and_a_long_list_in_a_thread(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    made: list[tuple[int, bool]] = []

    def build(models: Sequence[Model]) -> bytes:
        made.append((len(models), threading.current_thread() is threading.main_thread()))
        return b"x"

    fleet = fleet_of((target, inventory))
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(fleet.shown, build)
    target.inventory = [f"m{number}" for number in range(5000)]
    await inventory.probe()
    for _ in range(9):
        assert await fleet.shown(build) == b"x"
    assert made == [(2, True), (5000, False)]


async def test_many_who_miss_a_model_share_one_question(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    target.inventory.append("new")
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(fleet_of((target, inventory)).resolve, "new")
    assert len(target.probes) == 2


async def test_a_model_is_found_by_its_alias(
    start: Start, target: FakeTarget, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def models() -> list[Model]:
        return [Model(name="m:latest", aliases=("m",))]

    monkeypatch.setattr(FakeTarget, "models", lambda self: models())
    assert (await fleet_of((target, await start())).resolve("m")).name == "m:latest"


async def test_known_models_are_still_known_while_the_target_is_away(
    start: Start, target: FakeTarget, autojump_clock: MockClock
) -> None:
    inventory = await start()
    target.down = GONE
    inventory.report_down(GONE)
    assert (await fleet_of((target, inventory)).resolve("m")).name == "m"
    with pytest.raises(TargetDown, match="connection refused"):
        await fleet_of((target, inventory)).resolve("unknown")


async def test_the_last_known_models_outlive_the_process(
    start: Start, target: FakeTarget, queue: StaticAnswer, autojump_clock: MockClock
) -> None:
    await start()
    [note] = queue.messages
    assert getattr(note, "name", None) == NOTE
    target.down = GONE
    inventory = await start(remembered=getattr(note, "value", None))
    assert [model.name for model in inventory.models] == ["m", "n"]
    assert not inventory.up


async def test_what_has_not_changed_is_not_written_again(
    start: Start, queue: StaticAnswer, autojump_clock: MockClock
) -> None:
    await start()
    await trio.sleep(300)
    assert len(queue.messages) == 1
