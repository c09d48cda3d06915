"""The circuit breaker of a model."""

from __future__ import annotations

import pytest

from foreman.domain.errors import (
    AttemptTimeout,
    ForemanError,
    Interrupted,
    ModelCrashed,
    TargetBusy,
    TargetFailed,
    TargetGarbled,
    TargetLost,
    TargetRefused,
    TargetSilent,
    TargetUnavailable,
)
from foreman.domain.scheduling.breaker import FREE, LONGEST, Breaker, is_to_blame

NOW = 1000.0


def with_status(error: TargetFailed, status: int) -> TargetFailed:
    error.status = status
    return error


def after_failures(*jobs: str) -> Breaker:
    breaker = Breaker()
    for job in jobs:
        breaker = breaker.failed(job, "target_lost", NOW)
    return breaker


@pytest.mark.parametrize(
    ("jobs", "opens"),
    [("abc", True), ("aab", True), ("aba", True), ("aaaaa", False), ("ab", False), ("aaaab", True)],
)
def test_it_opens_after_three_failures_of_two_jobs(jobs: str, opens: bool) -> None:
    assert after_failures(*jobs).is_open is after_failures(*jobs).rests is opens


def test_one_job_at_a_time_is_let_through_and_pauses_grow_until_two_minutes() -> None:
    breaker, now, pauses = after_failures(*"abc"), NOW, []
    for _ in range(8):
        assert breaker.until is not None
        pauses.append(breaker.until - now)
        assert breaker.at(breaker.until - 0.1).rests
        now = breaker.until
        breaker = breaker.at(now)
        assert not breaker.rests
        breaker = breaker.claimed("d", now)
        assert breaker.rests
        breaker = breaker.failed("d", "target_lost", now)
    assert pauses == [5, 10, 20, 40, 80, 120, 120, 120]


def test_a_pause_is_as_long_as_the_try_that_failed() -> None:
    breaker = after_failures(*"abc").at(NOW + 5).claimed("d", NOW + 5)
    assert breaker.failed("d", "target_silent", NOW + 305).until == NOW + 605
    assert breaker.failed("d", "target_silent", NOW + 5005).until == NOW + 5005 + LONGEST


def test_failures_of_jobs_that_were_on_their_way_change_no_pause() -> None:
    breaker = after_failures(*"abc")
    assert breaker.failed("d", "target_lost", NOW + 3).until == breaker.until
    trying = breaker.at(NOW + 5).claimed("e", NOW + 5)
    assert trying.failed("d", "target_lost", NOW + 6).trying == "e"


def test_a_try_that_tells_nothing_makes_way_for_the_next() -> None:
    breaker = after_failures(*"abc").at(NOW + 5).claimed("d", NOW + 5)
    assert breaker.left("a").rests
    assert not breaker.left("d").rests and breaker.left("d").is_open


def test_only_tries_cost_nothing_and_only_for_an_hour() -> None:
    breaker = after_failures(*"abc").at(NOW + 5).claimed("d", NOW + 5)
    assert [breaker.costs_nothing(job, NOW + 9) for job in "ad"] == [False, True]
    assert not breaker.costs_nothing("d", NOW + FREE)


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    assert not after_failures(*"abc").at(NOW - 1).rests


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (TargetSilent("t", 600), True),
        (TargetLost("t", "it closed"), True),
        (with_status(TargetFailed("t", "status 502"), 502), True),
        (TargetFailed("t", "an error in the stream"), False),
        (TargetGarbled("t", "noise"), False),
        (TargetRefused(500, "boom"), True),
        (AttemptTimeout(60, silent=True), True),
        (AttemptTimeout(60), False),  # it was at work
        (AttemptTimeout(0.01, silent=True), False),  # nobody could
        (TargetRefused(501, "no"), False),
        (TargetRefused(400, "bad prompt"), False),
        (TargetBusy("t"), False),
        (TargetUnavailable("t", "refused"), False),
        (ModelCrashed("m", "ended", []), False),
        (Interrupted(), False),
    ],
)
def test_what_the_server_is_to_blame_for(error: ForemanError, blamed: bool) -> None:
    assert is_to_blame(error) is blamed


def test_a_server_that_has_begun_an_answer_is_not_to_blame() -> None:
    error = TargetLost("t", "it closed")
    error.began = True
    assert not is_to_blame(error)
