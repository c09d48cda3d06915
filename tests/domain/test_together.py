"""Several load keys on one target at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from foreman.domain.scheduling.choose import CLASSES, Head, OrderRules, Standing, choose, start
from foreman.domain.scheduling.room import Room
from foreman.domain.scheduling.turns import Turn

LIMIT, NOW = 100.0, 1000.0
RULES = OrderRules(limit=LIMIT, slots=4)
TWO = Room.count(2)
HIGH, NORMAL = 0, 1


def head(key: str, waits: float = 0, priority: int = NORMAL) -> Head:
    return Head(key, priority, NOW - waits, key)


def next_of(
    *heads: Head, turns: Collection[tuple[str, float]] = (), keys_at_work: Collection[str] = (), room: Room = TWO
) -> str | None:
    """The key of the next job; `turns` have a key and the seconds since its beginning, the one used last at the end."""
    began = max((NOW - since for _, since in turns), default=0.0)
    standing = Standing(
        tuple(Turn(key, NOW - since, priority=NORMAL) for key, since in turns), began=(began,) * len(CLASSES)
    )
    running = Counter({NORMAL: len(keys_at_work)})
    choice = choose(heads, standing, running=running, now=NOW, rules=RULES, keys_at_work=keys_at_work, room=room)
    return choice.head.key if choice else None


def test_what_fits_together_works_together() -> None:
    assert next_of(head("a"), head("b", 5), turns=[("a", 1)], keys_at_work=["a"]) == "b"
    assert next_of(head("a", 9), head("b", 5), turns=[("a", 1)], keys_at_work=["a"]) == "a"
    assert next_of(head("b", 5), turns=[("a", 1)], keys_at_work=["a"], room=Room.count(1)) is None


def test_a_third_key_waits_until_a_turn_has_ended_and_one_is_idle() -> None:
    both = [("a", 1), ("b", 1)]
    assert next_of(head("a"), head("b"), head("c", 50), turns=both, keys_at_work=["a", "b"]) == "a"
    ended = [("a", LIMIT), ("b", 1)]
    assert next_of(head("a", 60), head("b"), head("c", 50), turns=ended, keys_at_work=["b"]) == "c"
    # While the key whose turn has ended still works, only the other one goes on.
    assert next_of(head("a", 60), head("b"), head("c", 50), turns=ended, keys_at_work=["a", "b"]) == "b"
    assert next_of(head("a", 60), head("c", 50), turns=ended, keys_at_work=["a", "b"]) is None


def test_an_idle_turn_makes_room_and_one_thkeys_at_works_does_not() -> None:
    both = [("a", 1), ("b", 1)]
    assert next_of(head("b"), head("c", 5), turns=both, keys_at_work=["b"]) == "c"
    assert next_of(head("c", 5), turns=both, keys_at_work=["a", "b"]) is None


def test_a_high_job_takes_the_place_of_the_key_used_longest_ago() -> None:
    both = [("a", 1), ("b", 1)]
    heads = head("a"), head("b"), head("c", 0, HIGH)
    assert next_of(*heads, turns=both, keys_at_work=["a", "b"]) == "b"  # a makes room, b goes on
    assert next_of(*heads, turns=both, keys_at_work=["b"]) == "c"
    standing = Standing((Turn("a", NOW), Turn("b", NOW)))
    choice = choose(heads, standing, running={}, now=NOW, rules=RULES, keys_at_work=["b"], room=TWO)
    assert choice is not None
    assert start(standing, choice, NOW, limit=LIMIT, room=TWO).keys == ("b", "c")


def test_small_keys_do_not_keep_a_large_one_waiting_for_ever() -> None:
    sizes = {"large": 3, "small": 1, "tiny": 1, "other": 1}
    room = Room.memory(3, sizes)
    turns = [("small", 1)]
    assert next_of(head("large", 50), head("small"), head("tiny", 5), turns=turns, room=room) == "tiny"
    assert next_of(head("large", LIMIT + 1), head("small"), head("tiny", 5), turns=turns, room=room) == "small"
    assert next_of(head("large", LIMIT + 1), head("small"), turns=[("small", LIMIT)], room=room) == "large"


def test_turns_are_always_keys_that_fit_together() -> None:
    standing, room = Standing(), Room.memory(4, {"a": 2, "b": 2, "c": 3})
    for key, kept in (("a", ("a",)), ("b", ("a", "b")), ("a", ("b", "a")), ("c", ("c",)), ("a", ("a",))):
        choice = choose([head(key)], standing, running={}, now=NOW, rules=RULES, room=room)
        assert choice is not None
        standing = start(standing, choice, NOW, limit=LIMIT, room=room)
        assert standing.keys == kept


def test_a_key_whose_turn_has_ended_begins_another_beside_two_that_follow_each_other() -> None:
    room, now = Room.memory(6, {"large": 5, "other": 5, "small": 1}), NOW
    standing = Standing((Turn("small", NOW - LIMIT, priority=NORMAL), Turn("large", NOW - 1, priority=NORMAL)))
    while now < NOW + 4 * LIMIT:
        heads = [head("small"), Head("large", NORMAL, now, "1"), Head("other", NORMAL, now, "2")]
        choice = choose(heads, standing, running={}, now=now, rules=RULES, room=room)
        assert choice is not None
        if choice.head.key == "small":
            return
        standing, now = start(standing, choice, now, limit=LIMIT, room=room), now + 10
    pytest.fail("it waits for ever")
