"""Forecasts: what is known of lengths and speeds, by groups of jobs and by targets."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.scheduling import forecast
from foreman.domain.scheduling.forecast import Forecasts, Kind, decoded

PLAIN = Kind("m")


def after(*jobs: tuple[Kind, float, int], target: str = "", before: float = 0.0) -> Forecasts:
    """What is known after jobs: their kinds, seconds and tokens."""
    known = Forecasts()
    for kind, seconds, tokens in jobs:
        known = known.learned(kind, target, seconds=seconds, before=before, tokens=tokens)
    return known


def seconds(known: Forecasts, kind: Kind = PLAIN, target: str | None = None) -> float:
    found = known.seconds(kind, target)
    assert found is not None
    return found


def test_one_job_tells_of_the_next() -> None:
    assert Forecasts().of(PLAIN) is None and Forecasts().usual("m") is None and Forecasts().typical() is None
    known = after((PLAIN, 22.0, 440))
    assert seconds(known) == known.usual("m") == known.typical() == pytest.approx(22)
    assert known.of(Kind("n")) is None and known.seconds(Kind("n")) is None


def test_a_limit_that_is_new_is_expected_by_tokens_and_their_rate() -> None:
    known = after((PLAIN, 22.0, 440), before=2.0)
    assert seconds(known, Kind("m", most_tokens=40)) == pytest.approx(2 + 40 / 22)
    assert seconds(known, Kind("m", most_tokens=5000)) == pytest.approx(22)
    uncounted = after((PLAIN, 22.0, 0))
    assert seconds(uncounted, Kind("m", most_tokens=40)) == seconds(uncounted) == pytest.approx(22)


def test_special_groups_count_the_more_the_more_is_known_of_them() -> None:
    of_a, of_b = Kind("m", ("", "a")), Kind("m", ("", "b"))
    long, short = Kind("m", ("", "a"), b"1234efgh"), Kind("m", ("", "a"), b"5678efgh")
    known = after(*[(of_b, 10.0, 100)] * 40, (long, 100.0, 1000))
    assert 20 < seconds(known, long) < 70  # one job is no rule
    known = after(*[(of_b, 10.0, 100)] * 40, *[(long, 100.0, 1000), (short, 1.0, 10)] * 40)
    assert seconds(known, of_b) == pytest.approx(10, rel=0.3)
    assert seconds(known, long) == pytest.approx(100, rel=0.2)
    assert seconds(known, short) == pytest.approx(1, abs=5)
    assert seconds(known, of_a) == pytest.approx(50, rel=0.2)
    assert seconds(known, Kind("m", ("", "c"))) == seconds(known) == pytest.approx(known.usual("m") or 0)


def test_each_target_has_its_speed_and_lengths_are_those_of_all() -> None:
    known = Forecasts()
    for _ in range(20):
        known = known.learned(PLAIN, "fast", seconds=1.5, before=0.5, tokens=100)
        known = known.learned(PLAIN, "slow", seconds=15.0, before=5.0, tokens=100)
    assert seconds(known, target="fast") == pytest.approx(1.5, rel=0.5)
    assert seconds(known, target="slow") == pytest.approx(15, rel=0.5)
    assert seconds(known, target="slow") == pytest.approx(10 * seconds(known, target="fast"), rel=0.1)
    assert seconds(known, target="new") == seconds(known)


def test_the_rest_is_that_of_the_jobs_which_took_longer() -> None:
    known = after(*[(PLAIN, 2.0, 100), (PLAIN, 2.0, 100), (PLAIN, 2.0, 100), (PLAIN, 42.0, 2100)] * 10)
    found = known.of(PLAIN)
    assert found is not None
    assert found.rest(0) == found.seconds == pytest.approx(12, rel=0.05)
    assert found.rest(1.5) == pytest.approx(10.5, rel=0.05)
    assert found.rest(3) == pytest.approx(39) and found.rest(30) == pytest.approx(12)
    assert found.rest(50) == pytest.approx(15)  # longer than any: three tenths more
    limited = known.of(Kind("m", most_tokens=200))
    assert limited is not None and limited.rest(3) == pytest.approx(1)


def test_while_no_answer_has_begun_all_of_it_is_to_come() -> None:
    known = after(*[(PLAIN, 5.0, 400)] * 10, before=1.0)
    found = known.of(PLAIN)
    assert found is not None
    assert found.rest(0) == pytest.approx(5) and found.rest(0.5) == pytest.approx(4.5)
    assert found.rest(3) == pytest.approx(4.9)  # a long prompt
    assert found.rest(3, first=2.5) == pytest.approx(3.5)
    assert found.rest(4.5) == pytest.approx(0.5)  # this target sends an answer in one piece


def test_the_rest_of_spread_answers_is_right_on_average() -> None:
    dice = random.Random(1)
    for took in (2.0, 5.0, 10.0):
        rests = []
        for _ in range(20):
            found = after(*((PLAIN, dice.expovariate(0.1), 0) for _ in range(60))).of(PLAIN)
            assert found is not None
            rests.append(found.rest(took))
        assert fmean(rests) == pytest.approx(10, rel=0.2)  # however long such a job has run


def test_an_answer_in_one_piece_has_a_speed_as_well() -> None:
    known = after((PLAIN, 4.0, 100), before=4.0)
    assert seconds(known) == pytest.approx(4)
    assert seconds(known, Kind("m", most_tokens=50)) == pytest.approx(2)
    assert seconds(after((PLAIN, 0.0, 3))) == pytest.approx(3 / forecast.PLAIN)


kinds = st.builds(
    Kind,
    st.sampled_from("mn"),
    st.tuples(st.sampled_from(["", "t"]), st.sampled_from(["", "ä"])),
    st.sampled_from([b"", b"\0\xff12", b"\0\xff1234"]),
    st.none() | st.integers(-1, 900),
)


@given(st.lists(st.tuples(kinds, st.sampled_from(["", "t"]), st.integers(0, 900), st.integers(0, 9000))))
def test_what_is_stored_says_the_same(jobs: list[tuple[Kind, str, int, int]]) -> None:
    known = Forecasts()
    for kind, target, took, tokens in jobs:
        known = known.learned(kind, target, seconds=took, before=took / 3, tokens=tokens)
    again = decoded(known.encoded())
    assert list(again.lengths) == list(known.lengths)
    for kind, target, _, _ in jobs:
        one, other = known.of(kind, target), again.of(kind, target)
        assert one and other and other.seconds == pytest.approx(one.seconds, rel=0.05, abs=0.05)
        assert one.seconds >= 0 and one.rest(5) >= 0.5


@pytest.mark.parametrize("text", [None, "", "{", "[]", '[[["m",null,["",""],"xy",1,[[1,1,1]]]],[]]', "[[1],[]]"])
def test_what_cannot_be_read_is_nothing(text: str | None) -> None:
    assert decoded(text) == Forecasts()


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "GROUPS", 10)
    known = after(*((Kind(f"{number % 25}"), 1.0, 1) for number in range(50)))
    assert [group.key for group in known.lengths] == [f"{number}" for number in range(15, 25)]
    assert len(known.rates) == 10
    assert decoded(known.encoded()).lengths.keys() == known.lengths.keys()


def test_answers_begin_sooner_where_the_beginning_of_the_prompt_is_cached() -> None:
    known = Forecasts()
    for number in range(40):
        again = number % 4 > 0
        known = known.learned(PLAIN, "", seconds=4 if again else 10, before=2 if again else 8, tokens=100, again=again)
    assert known.seconds(PLAIN, again=True) == pytest.approx(4, rel=0.1)
    assert known.seconds(PLAIN, again=False) == pytest.approx(10, rel=0.1)
    assert known.seconds(PLAIN) == pytest.approx(5.5, rel=0.15)
    kept = decoded(known.encoded())
    assert kept.seconds(PLAIN, again=True) == pytest.approx(4, rel=0.1)
    alone = Forecasts().learned(PLAIN, "", seconds=4, before=2, tokens=100)
    assert alone.seconds(PLAIN, again=True) == alone.seconds(PLAIN, again=False) == alone.seconds(PLAIN)


def test_what_was_stored_without_beginnings_is_read() -> None:
    known = decoded('[[["m",null,["",""],"",2.0,[[13,1.0,100.0]]]],[[null,"m",100.0,2.0]]]')
    assert known.seconds(PLAIN) == pytest.approx(4) and not known.beginnings
