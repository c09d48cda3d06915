"""How often a caller may do something."""

from __future__ import annotations

import random

import pytest

from foreman.domain.rate import Rate

NOW = 1_000_000.0


def taken(rate: Rate, caller: str, now: float, tries: int) -> int:
    return [rate.take(caller, now) for _ in range(tries)].count(0.0)


@pytest.mark.parametrize(("a_minute", "burst"), [(60, 1), (60, 60), (7, 3), (1, 5), (1_000_000, 50_000)])
def test_a_burst_passes_and_then_so_many_a_minute(a_minute: int, burst: int) -> None:
    rate = Rate(a_minute, burst)
    assert taken(rate, "a", NOW, burst + 5) == burst
    wait = rate.take("a", NOW)
    assert wait == pytest.approx(60 / a_minute, abs=1e-4)
    assert rate.take("a", NOW + wait / 2) > 0
    assert rate.take("a", NOW + wait) == 0
    assert taken(rate, "a", NOW + 10_000 * 60, burst + 5) == burst  # however long nothing was sent


def test_what_is_refused_costs_nothing() -> None:
    rate = Rate(60, 1)
    assert taken(rate, "a", NOW, 1000) == 1
    assert rate.take("a", NOW + 1) == 0


def test_callers_have_a_bucket_each() -> None:
    rate = Rate(60, 2)
    assert [taken(rate, caller, NOW, 3) for caller in ("a", "b", "")] == [2, 2, 2]


def test_over_any_time_no_more_than_the_burst_and_the_rate_pass() -> None:
    chance, now = random.Random(7), NOW
    rate = Rate(30, 4)
    times = []
    for _ in range(3000):
        now += chance.expovariate(1.5)
        if rate.take("a", now) == 0:
            times.append(now)
    for first in range(0, len(times), 7):
        for last in range(first, min(first + 200, len(times))):
            assert last - first + 1 <= 4 + (times[last] - times[first]) / 2 + 1e-3
    assert len(times) > 0.9 * (now - NOW) / 2  # and nearly all that may pass does


def test_however_many_callers_there_are_a_bounded_number_is_kept() -> None:
    rate = Rate(60, 2, callers=100)
    for number in range(10_000):
        rate.take(f"{number}", NOW + number / 10)
        assert len(rate._full_at) <= 100
    for number in range(1000):
        rate.take(f"at once {number}", NOW + 1000)
        assert len(rate._full_at) <= 100
    for _ in range(3):
        rate.take("busy", NOW + 2000)
    for number in range(100):
        rate.take(f"new {number}", NOW + 2000)
    assert rate.take("busy", NOW + 2000) > 0  # who has just used all of it is not forgotten for newcomers
