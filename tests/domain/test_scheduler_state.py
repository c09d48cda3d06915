"""The scheduler's state: a value, whose changes leave the one before as it was."""

from __future__ import annotations

from foreman.domain.scheduling.breaker import FAILURES, Breaker
from foreman.domain.scheduling.choose import Choice, Head, start
from foreman.domain.scheduling.scheduler_state import MODELS, SchedulerState

NOW = 1000.0


def opened(now: float = NOW) -> Breaker:
    breaker = Breaker()
    for number in range(FAILURES):
        breaker = breaker.failed(f"job {number}", "target_lost", now)
    return breaker


def test_the_turn_is_that_of_the_key_claimed_last() -> None:
    first = SchedulerState()
    then = first.with_standing(start(first.standing, Choice(Head("a", 1, NOW, "1"), reserved=False), NOW, limit=600))
    assert first.keys == () and then.keys == ("a",)


def test_a_key_rests_until_the_latest_time_it_was_given() -> None:
    state = SchedulerState().let_rest("a", NOW, NOW + 9).let_rest("a", NOW + 1, NOW + 5)
    assert state.rests("a") and not state.rests("b") and state.next_end() == NOW + 9
    assert state.at(NOW + 8).rests("a")
    assert not state.at(NOW + 9).rests("a")
    assert not state.at(NOW - 1).rests("a")  # the clock was set back


def test_a_failing_model_rests_with_all_its_keys() -> None:
    state = SchedulerState().with_breaker("a", opened())
    assert state.rests("a") and state.rests('a {"num_ctx":1}') and list(state.failing()) == ["a"]
    assert set(state.at_rest(lambda: ["a", 'a {"num_ctx":1}', "b"])) == {"a", 'a {"num_ctx":1}'}
    end = state.next_end()
    assert end is not None
    tried = state.at(end)
    assert not tried.rests("a") and tried.failing()
    assert not tried.with_breaker("a", None).failing()
    assert not state.with_breaker("a", None).rests("a")


def test_as_many_failing_models_are_remembered_as_there_is_room_for() -> None:
    state = SchedulerState().with_breaker("first", opened())
    for number in range(MODELS):
        state = state.with_breaker(f"m{number}", opened())
    assert len(state.breakers) == MODELS and "first" not in state.breakers
    assert not state.rests("first")
