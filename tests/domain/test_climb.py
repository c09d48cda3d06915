"""The climb to the number of slots at which a target answers the most tokens, on curves of real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.scheduling.climb import MOST, RUNGS, Climb, Window, above, below

Curve = Callable[[int], float]

# Tokens a second of Nemotron 30B on a B200, by requests together, as its vendor published them.
PUBLISHED = ((1, 277), (8, 1881), (64, 8120), (256, 15552), (512, 18746), (1024, 18829))
SOON = 0.1  # seconds
WINDOWS = 30


def published(slots: int) -> float:
    for (low, slow), (high, fast) in pairwise(PUBLISHED):
        if slots <= high:
            return slow + (fast - slow) * (slots - low) / (high - low)
    return PUBLISHED[-1][1]


def cliff(slots: int) -> float:
    return 100.0 * slots if slots <= 12 else 300.0


def on_a_cpu(slots: int) -> float:
    return 33.0 if slots <= 2 else 31.0 if slots <= 4 else 11.0


def flat(slots: int) -> float:
    return 33.0


def saturating(slots: int) -> float:
    return 1000.0 * slots / (slots + 60)


CURVES = [published, cliff, on_a_cpu, flat, saturating]


def walk(climb: Climb, curve: Curve, *, seed: int = 0, noise: float = 0.0, most: int = MOST) -> Iterator[Climb]:
    dice = Random(seed)
    while True:
        climb = climb.measured(Window(curve(climb.slots) * dice.gauss(1, noise), SOON), most)
        yield climb


def after(windows: int, climb: Climb, curve: Curve, *, seed: int = 0, noise: float = 0.0, most: int = MOST) -> Climb:
    return next(islice(walk(climb, curve, seed=seed, noise=noise, most=most), windows - 1, None))


@pytest.mark.parametrize("start", [1, 1024])
@pytest.mark.parametrize("curve", CURVES)
def test_it_finds_a_number_as_good_as_the_best_fixed_one(curve: Curve, start: int) -> None:
    best = max(map(curve, range(1, MOST + 1)))
    assert curve(after(WINDOWS, Climb.at(start), curve).home) >= 0.95 * best


@pytest.mark.parametrize("start", [1, 1024])
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("noise", "least"), [(0.02, 97), (0.04, 80)])
def test_it_finds_it_in_noise_too(curve: Curve, start: int, noise: float, least: int) -> None:
    best = max(map(curve, range(1, MOST + 1)))
    homes = [after(WINDOWS, Climb.at(start), curve, seed=seed, noise=noise).home for seed in range(100)]
    assert sum(curve(home) >= 0.95 * best for home in homes) >= least


@pytest.mark.parametrize("curve", CURVES)
def test_the_search_costs_little_once_it_has_found_the_number(curve: Curve) -> None:
    best = max(map(curve, range(1, MOST + 1)))
    steps = walk(after(WINDOWS, Climb.at(1), curve), curve, noise=0.02)
    speeds = [curve(climb.slots) for climb, _ in zip(steps, range(200), strict=False)]
    assert sum(speeds) / len(speeds) >= 0.95 * best


@pytest.mark.parametrize("curve", [flat, on_a_cpu])
def test_where_more_jobs_bring_nothing_one_runs_at_a_time(curve: Curve) -> None:
    assert after(WINDOWS, Climb.at(1), curve).home == after(WINDOWS, Climb.at(1024), curve).home == 1


@given(st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 1e6), st.floats(0, 1e3))), max_size=200), st.integers())
def test_whatever_is_measured_the_number_stays_within_bounds_and_home_below_the_peak(
    events: list[tuple[float, float] | None], start: int
) -> None:
    climb = Climb.at(start)
    for event in events:
        climb = climb.refused() if event is None else climb.measured(Window(*event))
        assert 1 <= climb.slots <= MOST and 1 <= climb.home <= MOST
        assert climb.ceiling is None or climb.home < climb.ceiling
    later = list(islice(walk(climb, saturating), 200))
    assert any(one.slots > one.home or one.home == MOST for one in later)


def test_it_never_goes_beyond_what_a_server_was_started_for() -> None:
    steps = walk(Climb.at(1), published, most=4)
    numbers = [climb.slots for climb, _ in zip(steps, range(100), strict=False)]
    assert max(numbers) == 4 and numbers[-1] >= 3


def test_a_refusal_takes_a_step_back_and_later_more_are_tried_again() -> None:
    climb = after(7, Climb.at(1), published)
    assert climb.slots == 8
    climb = climb.refused()
    assert (climb.slots, climb.home, climb.ceiling) == (7, 7, 8)
    numbers = [one.slots for one, _ in zip(walk(climb, published), range(40), strict=False)]
    assert numbers[0] < 8 < max(numbers)


def test_a_server_that_goes_on_refusing_is_asked_less_and_less_often() -> None:
    climb, refusals = Climb.at(1), []
    for window in range(400):
        if climb.slots > 3:
            climb = climb.refused()
            refusals.append(window)
        else:
            climb = climb.measured(Window(published(climb.slots), SOON))
    assert climb.home == 3
    gaps = [later - earlier for earlier, later in pairwise(refusals)]
    assert 10 <= len(refusals) <= 25 and gaps[-1] > 20 > gaps[0]


def test_refusals_of_everything_end_at_one_from_where_it_grows_again() -> None:
    climb = Climb.at(1024)
    for _ in range(len(RUNGS) + 5):
        climb = climb.refused()
    assert climb.slots == climb.home == 1
    assert published(after(200, climb, published).home) >= 0.95 * PUBLISHED[-1][1]


def test_a_slow_beginning_of_answers_is_a_brake() -> None:
    climb = after(5, Climb.at(1), published)
    slots = climb.slots
    climb = climb.measured(Window(1e9, 39.0))
    assert climb.slots < slots and climb.ceiling == slots


def test_a_beginning_within_a_second_is_no_brake() -> None:
    climb = after(5, Climb.at(1), published)
    assert climb.measured(Window(published(climb.slots), 0.9)).slots > climb.slots


def test_longer_prompts_are_no_lasting_brake() -> None:
    climb = after(5, Climb.at(1), published)
    for _ in range(WINDOWS * 2):
        climb = climb.measured(Window(published(climb.slots), 20.0))
    assert published(climb.home) >= 0.95 * PUBLISHED[-1][1]


def test_another_model_is_measured_anew_at_home() -> None:
    climb = after(12, Climb.at(1), published).forget()
    assert climb.slots == climb.home and not climb.speeds
    assert climb.measured(Window(1.0, SOON)).home == climb.home  # however slow it is


def test_a_target_that_becomes_slower_for_all_numbers_keeps_its_number() -> None:
    climb = after(WINDOWS, Climb.at(1), published)
    climb = replace(climb, slots=climb.home)
    slower = after(5, climb, lambda slots: published(slots) / 5)
    assert published(slower.home) >= 0.95 * PUBLISHED[-1][1]


def test_rungs_lie_one_apart_and_then_a_quarter() -> None:
    assert RUNGS[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 13] and RUNGS[-1] == MOST
    assert (above(8), below(8), above(9), below(9), above(MOST), below(1)) == (10, 7, 10, 8, MOST, 1)
