"""Loads of one target: shared while they last, tried again by each caller when they fail."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.loads import Loads
from foreman.domain.errors import TargetError, TargetUnavailable
from foreman.targets.protocol import Call
from tests.support.actors import FakeTarget


def call(key: str = "m") -> Call:
    return Call(model=key, key=key, endpoint="/api/chat", payload=b"{}")


async def test_calls_of_one_key_load_it_once(autojump_clock: MockClock) -> None:
    target = FakeTarget(load_seconds=5)
    loads, loaded = Loads(target, lambda: 0.0), []

    async def load() -> None:
        loaded.append(await loads.load(call()))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(load)
    assert (target.loads, sorted(loaded), trio.current_time()) == (["m"], [False, False, False, True], 5)
    assert not await loads.load(call())


@pytest.mark.parametrize("left", [False, True], ids=["the load fails", "its caller goes away"])
async def test_those_that_waited_try_for_themselves(autojump_clock: MockClock, left: bool) -> None:
    target = FakeTarget(load_seconds=5, down=None if left else TargetUnavailable("t", "away"))
    loads = Loads(target, lambda: 0.0)
    ends: list[tuple[bool | None, float]] = []

    async def load(seconds: float) -> None:
        with trio.move_on_after(seconds):
            try:
                ends.append((await loads.load(call()), trio.current_time()))
            except TargetError:
                ends.append((None, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load, 1 if left else 99)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(load, 99)
    assert ends == ([(True, 6)] if left else [(None, 5), (None, 10)])
