"""What changing between load keys costs, in whole histories of one target with one slot."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import pytest
from msgspec.structs import replace

from foreman.domain.scheduling.choose import Head, OrderRules, Standing, choose, start
from foreman.domain.scheduling.turns import MOST_BAR, Moves, Turn, Visits

HIGH, NORMAL, LOW = 0, 1, 2
LOAD = 4.0


@dataclass
class History:
    """A target that takes LOAD seconds to change its key; `seconds` are those of a job of each key."""

    seconds: dict[str, float]
    load: float = LOAD
    standing: Standing = field(default_factory=Standing)
    loaded: str = ""
    loads: int = 0
    done: dict[str, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)  # of the high jobs, until their model is loaded

    def play(self, calls: list[float], *, backlog: int, until: float) -> None:
        """Work on `backlog` jobs of a while calls for b come at these times."""
        now, waiting = 0.0, list(calls)
        while now < until:
            come = [at for at in waiting if at <= now]
            heads = [Head("b", HIGH, come[0], "0")] if come else []
            heads += [Head("a", NORMAL, 0.0, "1")] if backlog else []
            choice = choose(heads, self.standing, running={}, now=now, rules=OrderRules())
            if choice is None:
                ends = [end for end in (self.standing.next_end(now), *[at for at in waiting if at > now][:1]) if end]
                now = min(ends, default=until)
                continue
            key = choice.head.key
            self.standing = start(self.standing, choice, now, limit=OrderRules().limit, load=self.load)
            if key != self.loaded:
                now, self.loaded, self.loads = now + self.load, key, self.loads + 1
            if key == "b":
                self.waits.append(now - waiting.pop(0))
            else:
                backlog -= 1
            now += self.seconds[key]
            self.done[key] = self.done.get(key, 0) + 1
            if turn := self.standing.turn(key):
                self.standing = self.standing.changed(replace(turn, used=now))


@pytest.mark.parametrize("first", [20.0, 23.7, 31.3])
def test_rare_calls_leave_a_batch_most_of_its_time_and_seldom_wait(first: float) -> None:
    history = History({"a": 2.0, "b": 1.0})
    history.play([first + 20 * number for number in range(178)], backlog=10**6, until=3600)
    assert history.done["a"] * 2.0 / 3600 >= 0.6
    assert median(history.waits) < 1.5 * LOAD
    assert max(history.waits) < MOST_BAR


def test_calls_in_quick_succession_keep_the_target() -> None:
    history = History({"a": 2.0, "b": 1.0})
    history.play([30 + 3 * number for number in range(20)], backlog=1000, until=200)
    assert history.loads == 3  # a, b for all of its calls, a
    assert median(history.waits) < 1


def test_the_first_call_is_waited_behind_for_one_load_and_then_known_to_be_rare() -> None:
    history = History({"a": 2.0, "b": 1.0})
    history.play([30.0], backlog=10, until=60)
    assert history.done == {"a": 10, "b": 1}
    taken = Turn("b", 0.0, used=5.0, load=LOAD, took=True)
    assert taken.lingers(5 + LOAD - 0.1) and not taken.lingers(5 + LOAD) and not taken.lingers(4.9)
    visits = Visits().left(taken)
    assert visits.gap("b", 25.0) == 20 and visits.gap("c", 25.0) is None
    assert not replace(taken, gap=20.0).lingers(6.0)


def test_a_turn_is_not_taken_before_it_has_worked_as_long_as_it_loaded() -> None:
    standing = Standing((Turn("a", 0.0, load=LOAD),))
    heads = [Head("b", HIGH, 4.5, "1"), Head("a", NORMAL, 0.0, "2")]

    def goes(now: float) -> str:
        choice = choose(heads, standing, running={}, now=now, rules=OrderRules())
        assert choice is not None
        return choice.head.key

    assert [goes(now) for now in (5.0, 2 * LOAD - 0.1, 2 * LOAD)] == ["a", "a", "b"]
    assert standing.next_end(5.0) == 2 * LOAD
    alone = choose(heads[:1], standing, running={}, now=5.0, rules=OrderRules())
    assert alone is not None and alone.head.key == "b"  # nothing of a is left to go on with


def test_moves_are_barred_until_they_are_paid_for() -> None:
    moves, times = Moves(), []
    now = 0.0
    for _ in range(100):
        if moves.bars(now):
            assert moves.until > now
            now = moves.until
        moves = moves.one(2 * LOAD, now)
        times.append(now)
        now += 10
    assert times[-1] >= (len(times) - 3) * 2 * LOAD * 3 * 0.9  # a third of the time
    assert not Moves(9.0, 100.0, 200.0).bars(50.0)  # the clock was set back


def test_no_lower_job_changes_the_key_in_place_of_one_that_waits_until_moves_are_paid_for() -> None:
    turn, moves = Turn("a", 650.0), Moves(50.0, 700.0, until=760.0)
    standing = Standing((turn,), (0.0, 0.0, 5.0), started=(NORMAL, NORMAL), moves=moves)
    heads = [Head("b", HIGH, 650.0, "1"), Head("a", NORMAL, 690.0, "2"), Head("c", LOW, 0.0, "3")]

    def goes(now: float, *heads: Head) -> str:
        choice = choose(heads, standing, running={}, now=now, rules=OrderRules(limit=600))
        assert choice is not None
        return choice.head.key

    assert [goes(now, *heads) for now in (710.0, 760.0)] == ["a", "b"]
    assert goes(710.0, *heads[1:]) == "c"  # on the share of its class, where no higher one waits for the key


def test_without_known_loads_nothing_is_held_back() -> None:
    standing = Standing((Turn("a", 0.0),))
    choice = choose(
        [Head("b", HIGH, 0.0, "1"), Head("a", NORMAL, 0.0, "2")], standing, running={}, now=0.0, rules=OrderRules()
    )
    assert choice is not None and choice.head.key == "b" and choice.takes == "a"
    assert start(standing, choice, 0.0, limit=OrderRules().limit).moves == Moves(0.0, 0.0, 0.0)
