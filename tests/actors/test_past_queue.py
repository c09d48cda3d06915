"""Embeddings, against targets that hang."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from foreman.actors.attempt import Timeouts
from foreman.actors.inventory import Inventory
from foreman.actors.past_queue import PastQueue
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import (
    AnswerTooLarge,
    AttemptTimeout,
    ModelCrashed,
    ModelNotFound,
    TargetDrained,
    TargetError,
    TargetSilent,
    TargetUnavailable,
)
from foreman.targets.protocol import Call
from tests.actors.test_inventory import StaticAnswer
from tests.conftest import Logged
from tests.support.actors import FakeTarget, Script, fleet_of

VECTOR = Chunk(b'{"embeddings":[[1.0]]}', last=True)
TIMEOUT = Timeouts(attempt=100, first_chunk=30, stall=12, max_answer=1000)


class Moody:
    """Hangs for the models named, answers for others."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = set(hanging)
        self.asked: list[str] = []

    async def __call__(self, call: Call) -> AsyncIterator[Chunk]:
        self.asked.append(call.model)
        if call.model in self.hanging:
            await trio.sleep_forever()
        yield VECTOR


def of(model: str) -> Call:
    return Call(model=model, key=model, endpoint="/api/embed", payload=b"{}")


def embeddings(script: Script, *, concurrency: int = 2, warm: str = "", target: FakeTarget | None = None) -> PastQueue:
    target = target or FakeTarget([script])
    inventory = Inventory(target, StaticAnswer(), poll_interval=30)
    return PastQueue(fleet_of((target, inventory)), concurrency=concurrency, timeout=TIMEOUT, warm=warm)


async def alive_only(call: Call) -> AsyncIterator[Chunk]:
    """Signs of life for ever, and no answer."""
    for _ in range(10**6):
        await trio.sleep(5)
        call.heard()
    yield VECTOR


async def then_silent(call: Call) -> AsyncIterator[Chunk]:
    await trio.sleep(20)
    call.heard()
    await trio.sleep(10**6)
    yield VECTOR


@pytest.mark.parametrize(
    ("script", "seconds", "error"),
    [(Moody("m"), 30, TargetSilent), (then_silent, 32, TargetSilent), (alive_only, 100, AttemptTimeout)],
    ids=["silent", "silent after a while", "endless"],
)
async def test_every_call_has_a_deadline(
    autojump_clock: MockClock, script: Script, seconds: float, error: type[TargetError]
) -> None:
    with pytest.raises(error):
        await embeddings(script).ask(of("m"))
    assert trio.current_time() == pytest.approx(seconds)


async def test_a_load_that_hangs_has_a_deadline(autojump_clock: MockClock) -> None:
    target = FakeTarget([Moody()], load_seconds=10**6)
    with pytest.raises(AttemptTimeout):
        await embeddings(Moody(), target=target).ask(of("m"))


async def test_an_answer_that_does_not_end_is_too_large() -> None:
    class Flood:
        def __aiter__(self) -> AsyncIterator[Chunk]:
            return self

        async def __anext__(self) -> Chunk:
            await trio.lowlevel.checkpoint()
            return VECTOR

    with trio.fail_after(5), pytest.raises(AnswerTooLarge):
        await embeddings(lambda call: Flood()).ask(of("m"))


async def test_a_warming_call_that_hangs_ends_and_is_in_nobodys_way(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: Logged
) -> None:
    moody = Moody("m")
    asked = embeddings(moody, concurrency=1, warm="m")
    await nursery.start(asked.run)
    await wait_all_tasks_blocked()
    moody.hanging.clear()
    assert json.loads(await asked.ask(of("m")) or b"{}") == {"embeddings": [[1.0]]}
    assert trio.current_time() == 0
    await trio.sleep(31)
    assert [line["model"] for line in logged.events("cannot warm the embedding model")] == ["m"]


async def test_the_model_is_warm_on_the_targets_that_there_are(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    targets = [FakeTarget([Moody()]) for _ in range(2)]
    inventories = [Inventory(target, StaticAnswer(), poll_interval=30) for target in targets]
    fleet = fleet_of((targets[0], inventories[0]))
    [other] = fleet_of((targets[1], inventories[1])).members
    await nursery.start(PastQueue(fleet, concurrency=1, timeout=TIMEOUT, warm="m").run)
    await wait_all_tasks_blocked()
    assert [len(target.answered) for target in targets] == [1, 0]
    fleet.arrange([other])
    await wait_all_tasks_blocked()
    for inventory in inventories:  # each target goes away and comes back
        inventory.report_down(TargetUnavailable("t", "away"))
        await wait_all_tasks_blocked()
        await inventory.probe()
        await wait_all_tasks_blocked()
    assert [len(target.answered) for target in targets] == [1, 2]


class Leaving(FakeTarget):
    """A target whose loads end when it leaves, as those of managed models do."""

    def __init__(self, error: TargetError) -> None:
        super().__init__([Moody()])
        self.error = error
        self.left = trio.Event()

    async def load(self, call: Call) -> None:
        await self.left.wait()
        raise self.error


@pytest.mark.parametrize("error", [TargetDrained("t", "has been removed"), ModelCrashed("m", "was stopped", [])])
@pytest.mark.parametrize("elsewhere", [True, False], ids=["to another target", "nowhere"])
async def test_a_call_moves_when_its_target_is_removed(
    autojump_clock: MockClock, elsewhere: bool, error: TargetError
) -> None:
    leaving, other = Leaving(error), FakeTarget([Moody()], inventory=["m"] if elsewhere else [])
    inventories = [Inventory(target, StaticAnswer(), poll_interval=30) for target in (leaving, other)]
    for inventory in inventories:
        await inventory.probe()
    fleet = fleet_of(*zip((leaving, other), inventories, strict=True))
    asked = PastQueue(fleet, concurrency=1, timeout=TIMEOUT)

    async def ask() -> None:
        if elsewhere:
            assert await asked.ask(of("m"))
        else:
            with pytest.raises(ModelNotFound):
                await asked.ask(of("m"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        fleet.arrange(fleet.members[1:])
        leaving.left.set()
    assert (trio.current_time(), len(other.answered)) == (0, int(elsewhere))


async def test_a_call_whose_model_crashes_does_not_move(autojump_clock: MockClock) -> None:
    crashing, other = Leaving(ModelCrashed("m", "ended", [])), FakeTarget([Moody()])
    inventories = [Inventory(target, StaticAnswer(), poll_interval=30) for target in (crashing, other)]
    for inventory in inventories:
        await inventory.probe()
    crashing.left.set()
    with pytest.raises(ModelCrashed):
        await PastQueue(
            fleet_of(*zip((crashing, other), inventories, strict=True)), concurrency=1, timeout=TIMEOUT
        ).ask(of("m"))


@pytest.mark.parametrize("hanging", [["m"], ["m", "a"]])
async def test_a_model_that_hangs_holds_up_no_other(
    autojump_clock: MockClock, nursery: trio.Nursery, hanging: list[str]
) -> None:
    asked = embeddings(moody := Moody(*hanging), concurrency=2)

    async def hang(model: str) -> None:
        with pytest.raises(TargetError):
            await asked.ask(of(model))

    for _ in range(5):
        for model in hanging:
            nursery.start_soon(hang, model)
    await wait_all_tasks_blocked()
    assert len(moody.asked) >= 2
    for _ in range(3):
        assert await asked.ask(of("b"))
    assert trio.current_time() == 0


async def test_the_next_place_goes_to_the_model_that_has_the_fewest(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    order: list[str] = []

    async def slow(call: Call) -> AsyncIterator[Chunk]:
        order.append(call.model)
        await trio.sleep(1)
        yield VECTOR

    asked = embeddings(slow, concurrency=2)
    for model in ["m"] * 6 + ["a"] * 2:
        nursery.start_soon(asked.ask, of(model))
        await wait_all_tasks_blocked()
    await trio.sleep(9)
    assert (order[:3], sorted(order)) == (["m", "m", "a"], ["a"] * 2 + ["m"] * 6)
    assert order[3:5].count("a") == 1


async def test_places_are_bounded_however_many_models_hang(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    asked = embeddings(moody := Moody(*"abcdefgh"), concurrency=2)

    async def hang(model: str) -> None:
        with pytest.raises(TargetError):
            await asked.ask(of(model))

    for model in "aabbccddeeff":
        nursery.start_soon(hang, model)
    await wait_all_tasks_blocked()
    assert len(moody.asked) == 4
