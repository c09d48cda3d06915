"""What follows a fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.errors import (
    AttemptTimeout,
    Drained,
    ForemanError,
    Interrupted,
    LoadTimeout,
    TargetBusy,
    TargetFailed,
    TargetGarbled,
    TargetLost,
    TargetRefused,
    TargetSilent,
    TargetUnavailable,
)
from foreman.domain.retry import RETRY_AFTER_CAP, Again, Backoff, GiveUp, after, retry_after

EVEN = 0.5  # a chance that leaves the delay as it is
BACKOFF = Backoff(2, 300)
NOW = 1_767_323_045.0  # Fri, 02 Jan 2026 03:04:05 GMT


def what_follows(error: ForemanError, *, attempt: int = 1, max_attempts: int = 3) -> Again | GiveUp:
    return after(error, attempt=attempt, max_attempts=max_attempts, backoff=BACKOFF, chance=EVEN)


SPENDING = [
    TargetLost("t", "why"),
    TargetSilent("t", 1),
    AttemptTimeout(1),
    LoadTimeout("t", "m", 1),
    TargetFailed("t", "words"),
    TargetGarbled("t", "what"),
    Interrupted(),
]


@pytest.mark.parametrize("error", SPENDING, ids=lambda error: error.code)
def test_a_fault_after_sending_spends_the_attempt_and_waits_longer_each_time(error: ForemanError) -> None:
    assert [what_follows(error, attempt=n, max_attempts=9) for n in (1, 2, 3)] == [
        Again(wait=2, spent=True),
        Again(wait=4, spent=True),
        Again(wait=8, spent=True),
    ]


@pytest.mark.parametrize(("asked", "wait"), [(7, 7), (0.5, 2), (1e9, RETRY_AFTER_CAP)])
def test_a_time_that_was_named_is_waited_for(asked: float, wait: float) -> None:
    error = TargetFailed("t", "timed out")
    error.retry_after = asked
    assert what_follows(error) == Again(wait=wait, spent=True)


@pytest.mark.parametrize("error", SPENDING, ids=lambda error: error.code)
def test_the_last_attempt_is_the_last(error: ForemanError) -> None:
    assert what_follows(error, attempt=3) == GiveUp()


def test_what_was_never_sent_costs_nothing_and_waits_for_nothing() -> None:
    assert what_follows(TargetUnavailable("t", "refused"), attempt=3) == Again(wait=0, spent=False)


def test_a_drain_costs_nothing() -> None:
    assert what_follows(Drained(), attempt=3) == Again(wait=0, spent=False)


def test_a_busy_target_costs_nothing_and_is_asked_again_when_it_said() -> None:
    assert what_follows(TargetBusy("t", retry_after=7), attempt=3) == Again(wait=7, spent=False)


def test_a_busy_target_that_names_no_time_is_asked_after_the_first_backoff() -> None:
    assert what_follows(TargetBusy("t"), attempt=2) == Again(wait=2, spent=False)


def test_a_busy_target_that_says_at_once_is_given_a_second() -> None:
    assert what_follows(TargetBusy("t", retry_after=0)) == Again(wait=1, spent=False)


def test_a_busy_target_cannot_send_a_job_away_for_ever() -> None:
    assert what_follows(TargetBusy("t", retry_after=1e9)) == Again(wait=RETRY_AFTER_CAP, spent=False)


def test_a_request_that_is_wrong_is_not_tried_again() -> None:
    assert what_follows(TargetRefused(400, "no such option"), attempt=1) == GiveUp()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_stays_within_its_jitter_of_the_longest(tries: int, chance: float) -> None:
    backoff = Backoff(2, 300)
    assert 2 * 0.8 <= backoff.delay(tries, chance) <= 300 * 1.2


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("5", 5.0),
        ("1.5", 1.5),
        ("999", 999.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("Fri, 02 Jan 2026 03:04:35 -0000", 30.0),
        ("soon", None),
        ("Fri, 99 Jan 2026 03:04:35 GMT", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read(said: str | None, meant: float | None) -> None:
    assert retry_after(said, NOW) == meant
