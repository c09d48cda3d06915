"""The scheduler's state: a value, whose changes leave the one before as it was."""

from __future__ import annotations

from foreman.domain.scheduling.breaker import FAILURES, Breaker
from foreman.domain.scheduling.choose import Choice, Head, start
from foreman.domain.scheduling.turns import MODELS, Turns

NOW = 1000.0


def opened(now: float = NOW) -> Breaker:
    breaker = Breaker()
    for number in range(FAILURES):
        breaker = breaker.failed(f"job {number}", "target_lost", now)
    return breaker


def test_the_turn_is_that_of_the_key_claimed_last() -> None:
    first = Turns()
    then = first.stand(start(first.standing, Choice(Head("a", 1, NOW, "1"), reserved=False), NOW, limit=600))
    assert first.keys == () and then.keys == ("a",)


def test_a_key_rests_until_the_latest_time_it_was_given() -> None:
    turns = Turns().let_rest("a", NOW, NOW + 9).let_rest("a", NOW + 1, NOW + 5)
    assert turns.rests("a") and not turns.rests("b") and turns.next_end() == NOW + 9
    assert turns.at(NOW + 8).rests("a")
    assert not turns.at(NOW + 9).rests("a")
    assert not turns.at(NOW - 1).rests("a")  # the clock was set back


def test_a_failing_model_rests_with_all_its_keys() -> None:
    turns = Turns().judge("a", opened())
    assert turns.rests("a") and turns.rests('a {"num_ctx":1}') and list(turns.failing()) == ["a"]
    assert set(turns.at_rest(lambda: ["a", 'a {"num_ctx":1}', "b"])) == {"a", 'a {"num_ctx":1}'}
    end = turns.next_end()
    assert end is not None
    tried = turns.at(end)
    assert not tried.rests("a") and tried.failing()
    assert not tried.judge("a", None).failing()
    assert not turns.judge("a", None).rests("a")


def test_as_many_failing_models_are_remembered_as_there_is_room_for() -> None:
    turns = Turns().judge("first", opened())
    for number in range(MODELS):
        turns = turns.judge(f"m{number}", opened())
    assert len(turns.breakers) == MODELS and "first" not in turns.breakers
    assert not turns.rests("first")
