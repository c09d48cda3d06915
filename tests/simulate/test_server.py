"""A modelled server takes exactly as long as its speed says."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest
import trio
from trio.testing import MockClock

from foreman.targets.protocol import Call
from tests.simulate.server import Log, ModelledServer, Served, Speed
from tests.simulate.trace import ENDPOINT, Request, Trace

SPEED = Speed(slots=1, prompt=100, answer=((1, 10.0), (3, 20.0)), load=5, batch=50)
TWO = replace(SPEED, slots=2)


def request(*blocks: int, model: str = "m") -> Request:
    """A prompt of blocks of 100 tokens, and an answer of 20."""
    return Request(at=0, prompt=100 * len(blocks), answer=20, blocks=blocks, model=model)


async def served(speed: Speed, *asked: tuple[Request, float, float], load: bool = False) -> Log:
    """Ask a server: each request at a time, by a caller who leaves at another one."""
    log, began = Log(), trio.current_time()
    server = ModelledServer("s", Trace([one for one, _, _ in asked], block=100), speed, log)

    async def ask(number: int, model: str, at: float, until: float) -> None:
        await trio.sleep_until(began + at)
        call = Call(model=model, key=model, endpoint=ENDPOINT, payload=msgspec.json.encode({"seed": number}))
        with trio.CancelScope(deadline=began + until):
            if load:
                await server.load(call)
            async with server.answer(call) as chunks:
                async for _ in chunks:
                    pass

    async with trio.open_nursery() as running:
        await running.start(server.run)
        async with trio.open_nursery() as callers:
            for number, (one, at, until) in enumerate(asked):
                callers.start_soon(ask, number, one.model, at, until)
        running.cancel_scope.cancel()
    return log


def times(log: Log) -> list[tuple[float, float, float]]:
    """When each request was begun, computed and answered; the seconds are exact but for the sums of floats."""
    return [(round(one.start, 6), round(one.first or 0, 6), round(one.end, 6)) for one in by_number(log)]


def by_number(log: Log) -> list[Served]:
    return sorted(log.served, key=lambda one: one.number)


async def test_one_after_the_other_in_one_slot(autojump_clock: MockClock) -> None:
    log = await served(SPEED, (request(1, 2), 0, math.inf), (request(3), 0.5, math.inf))
    assert times(log) == [(0, 2, 4), (4, 5, 7)]
    assert all(one.done and one.slot == 0 for one in log.served)


async def test_prompts_share_the_pace_and_answers_follow_the_curve(autojump_clock: MockClock) -> None:
    log = await served(TWO, (request(1, 2), 0, math.inf), (request(3, 4), 1, math.inf))
    # From 1 s to 3 s each prompt gets 50 tokens a second; from 4 s on two answers have 15 between them.
    assert times(log) == [(0, 3, round(4 + 10 / 7.5, 6)), (1, 4, round(4 + 10 / 7.5 + 1, 6))]
    assert [one.slot for one in by_number(log)] == [0, 1]


@pytest.mark.parametrize(("kept", "cached"), [(1, [0, 0, 0, 199]), (2, [0, 0, 100, 199])])
async def test_the_cache_holds_the_latest_prompts(autojump_clock: MockClock, kept: int, cached: list[int]) -> None:
    asked = [request(1, 2), request(3, 4), request(1, 5), request(1, 5)]
    log = await served(replace(SPEED, kept=kept), *((one, at, math.inf) for at, one in enumerate(asked)))
    assert [one.cached for one in by_number(log)] == cached


async def test_models_are_loaded_as_far_as_they_fit_and_forget_their_prompts(autojump_clock: MockClock) -> None:
    asked = [(request(1, model="a"), 0), (request(1, model="b"), 20), (request(1, model="a"), 40)]
    one_at_a_time = await served(SPEED, *((one, at, math.inf) for one, at in asked), load=True)
    assert [(one.model, one.start, one.end) for one in one_at_a_time.loads] == [
        ("a", 0, 5),
        ("b", 20, 25),
        ("a", 40, 45),
    ]
    assert times(one_at_a_time) == [(5, 6, 8), (25, 26, 28), (45, 46, 48)]
    both = await served(replace(SPEED, loaded=2, kept=2), *((one, at, math.inf) for one, at in asked), load=True)
    assert len(both.loads) == 2
    assert [one.cached for one in by_number(both)] == [0, 0, 99]


async def test_a_cancelled_prompt_holds_its_slot_to_the_end_of_the_batch(autojump_clock: MockClock) -> None:
    log = await served(SPEED, (request(1, 2), 0, 0.75), (request(1, 3), 0.8, math.inf))
    gone, answered = by_number(log)
    assert (round(gone.end, 6), gone.done, gone.first) == (1, False, None)
    assert (round(answered.start, 6), answered.cached) == (1, 100)  # of the prompt that was not computed whole


async def test_a_cancelled_answer_frees_its_slot_at_once(autojump_clock: MockClock) -> None:
    log = await served(SPEED, (request(1, 2), 0, 2.5), (request(1, 3), 0.1, math.inf))
    gone, answered = by_number(log)
    assert (gone.end, gone.done, gone.first) == (2.5, False, 2.0)
    assert answered.start == 2.5


def test_the_pace_of_answers_lies_on_straight_lines() -> None:
    assert [SPEED.together(count) for count in (1, 2, 3, 50)] == [10, 15, 20, 20]
    assert Speed(answer=((4, 40.0),)).together(1) == 10
    assert SPEED.cold(request(1, 2)) == 4
