"""How far the estimates of a drain of 200 jobs for three models are off, once 20 of them have ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from tests.bench.figures import percentile
from tests.simulate.generate import QUESTION, REPLY, generate
from tests.simulate.play import Setup, by_foreman
from tests.simulate.server import Speed
from tests.simulate.trace import Request, Trace

ONE = Speed(prompt=400, answer=((1, 60.0),), load=10, batch=256)
FOUR = replace(ONE, slots=4, answer=((1, 60.0), (4, 160.0)))
SEEDS = (1, 2, 3)


def own(seed: int) -> Trace:
    """Prompts that have nothing in common."""
    dice = random.Random(seed)
    requests = [
        Request(
            at=0,
            prompt=min(500, max(1, round(dice.lognormvariate(*QUESTION)))),
            answer=max(1, round(dice.lognormvariate(*REPLY))),
            blocks=tuple(range(16 * number, 16 * number + 16)),
            model=f"m{number % 3}",
        )
        for number in range(200)
    ]
    return Trace(requests, 32)


def templates(seed: int) -> Trace:
    """24 templates of 1,500 tokens, shuffled."""
    dice = random.Random(seed)
    requests = [
        Request(
            at=0,
            prompt=1525,
            answer=max(1, round(dice.expovariate(1 / 32))),
            blocks=(*range(60 * (number % 24), 60 * (number % 24) + 60), 10_000 + number),
            model=f"m{number % 24 % 3}",
        )
        for number in range(200)
    ]
    dice.shuffle(requests)
    return Trace(requests, 25)


def callers(seed: int) -> Trace:
    """A mix of 12 callers, each with templates of its own."""
    trace = generate(seed, jobs=200, callers=12).over(3, seed)
    return replace(trace, requests=[replace(request, at=0.0) for request in trace.requests])


def errors(setup: Setup) -> list[float]:
    """Return the relative errors of what is said at every 20th job, of all that wait."""
    said: list[tuple[int, float, float]] = []  # by job: when it was said, and for when

    def look(done: int, expected: Callable[[int], float | None]) -> None:
        if done >= 20 and done % 20 == 0:
            found = {number: expected(number) for number in range(len(setup.trace.requests))}
            said.extend(
                (number, trio.current_time(), seconds) for number, seconds in found.items() if seconds is not None
            )

    done = by_foreman(setup, {}, look).done
    assert {setup.trace.requests[number].model for number, _, _ in said} == {
        request.model for request in setup.trace.requests
    }
    return [abs(at + seconds - done[number]) / (done[number] - at) for number, at, seconds in said]


@pytest.mark.parametrize(
    ("make", "speed", "servers", "most"),
    [
        (own, ONE, 1, 0.25),
        (own, FOUR, 1, 0.25),
        (own, ONE, 2, 0.25),
        (own, FOUR, 2, 0.25),
        (templates, ONE, 1, 0.2),
        (templates, FOUR, 1, 0.26),
        (templates, ONE, 2, 0.2),
        (templates, FOUR, 2, 0.25),
        (callers, ONE, 1, 0.26),
        (callers, ONE, 2, 0.3),
    ],
)
def test_half_of_the_estimates_are_about_right(
    make: Callable[[int], Trace], speed: Speed, servers: int, most: float
) -> None:
    found = [error for seed in SEEDS for error in errors(Setup(make(seed), speed, servers))]
    assert len(found) > 750
    assert percentile(found, 0.5) <= most
