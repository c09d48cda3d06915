"""What Foreman makes of a backlog, beside the order of arrival and with rules switched off."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from foreman.domain.job import Priority
from tests.bench.figures import percentile
from tests.simulate.figures import Figures, figures
from tests.simulate.generate import BLOCK, generate, with_people
from tests.simulate.play import Setup, by_arrival, by_foreman
from tests.simulate.server import Speed
from tests.simulate.trace import Request, Trace

SPEED = Speed(prompt=400, answer=((1, 60.0),), load=0, batch=256)


def foreman(setup: Setup, given: Mapping[str, object] | None = None) -> Figures:
    return figures(setup.trace, by_foreman(setup, given or {}))


@pytest.fixture(scope="module")
def templates() -> Setup:
    """16 templates of 6,000 characters, each with 8 questions, shuffled."""
    requests = [
        Request(
            at=0, prompt=1525, answer=32, blocks=(*range(60 * template, 60 * template + 60), 960 + 8 * template + n)
        )
        for template in range(16)
        for n in range(8)
    ]
    random.Random(1).shuffle(requests)
    return Setup(Trace(requests, block=25), SPEED)


def test_a_backlog_goes_template_by_template(templates: Setup) -> None:
    found, arrival = foreman(templates), figures(templates.trace, by_arrival(templates))
    assert arrival.hit <= 0.1 and templates.trace.bound() >= 0.86
    assert found.hit >= 0.8
    assert found.makespan <= 0.4 * arrival.makespan
    assert foreman(templates, {"prefix_turns": False}).hit <= 0.1


@pytest.mark.parametrize("servers", [2, 3])
def test_several_servers_compute_each_template_once(templates: Setup, servers: int) -> None:
    found = foreman(replace(templates, servers=servers))
    assert found.hit >= 0.84
    assert found.makespan <= 1.1 / servers * foreman(templates).makespan


def test_prompts_that_come_one_by_one_go_where_their_beginning_was_computed() -> None:
    requests = [
        Request(at=2.0 * n, prompt=1525, answer=32, blocks=(*range(60 * template, 60 * template + 60), 120 + n))
        for n, template in enumerate(random.Random(1).choices((0, 1), k=120))
    ]
    setup = Setup(Trace(requests, block=25), SPEED, servers=2)
    found, scattered = foreman(setup), foreman(setup, {"prefix_turns": False})
    assert found.hit >= 0.85 > 0.65 >= scattered.hit
    assert found.all.completion.mean <= 0.7 * scattered.all.completion.mean


def test_callers_get_like_parts_of_the_time_and_prompts_keep_their_order() -> None:
    fast = replace(SPEED, prompt=600, answer=((1, 120.0),))  # the longest job is half a caller's part of a window
    work, requests = dict[str, float](), []
    for request in generate(3, jobs=8000, callers=12).requests:
        work[request.caller] = work.get(request.caller, 0) + fast.cold(request)
        if work[request.caller] <= 330:
            requests.append(replace(request, at=0.0))
    setup = Setup(Trace(requests, BLOCK), fast)
    found, arrival = foreman(setup), figures(setup.trace, by_arrival(setup))
    assert found.hit >= 0.75 * setup.trace.bound() > 4 * arrival.hit
    assert found.windows and arrival.windows
    assert found.jain is not None and arrival.jain is not None
    assert found.jain >= 0.95 > 0.5 > arrival.jain
    assert found.all.waiting.mean <= 0.6 * arrival.all.waiting.mean


def test_people_do_not_wait_for_a_backlog() -> None:
    batch = Setup(generate(2, jobs=400, callers=3).timed(0), SPEED)
    setup = Setup(with_people(batch.trace, 2, every=60, until=batch.cold / 2), SPEED)
    found, kept = foreman(setup), foreman(setup, {"give_way": False})
    people, others = found.by_class["high"], found.by_class["low"]
    assert people.waiting.p50 <= 1 and others.waiting.p50 > 100
    assert people.waiting.mean < kept.by_class["high"].waiting.mean
    assert kept.wasted == 0 < found.wasted


def test_people_wait_for_hardly_anybody_and_little_work_is_lost() -> None:
    fast, waits = Speed(load=0), []
    for seed in (2, 3):
        batch = Setup(generate(seed, jobs=2500, callers=12).timed(0), fast)
        setup = Setup(with_people(batch.trace, seed, every=60, until=batch.cold / 1.3), fast)
        record = by_foreman(setup, {})
        last = record.last()
        waits += [
            last[number].start - request.at
            for number, request in enumerate(setup.trace.requests)
            if request.priority is Priority.HIGH
        ]
        assert figures(setup.trace, record).wasted <= 0.03
    assert len(waits) > 150
    assert percentile(waits, 0.5) <= 0.2 and percentile(waits, 0.9) <= 3
