"""The lanes in memory: what a claim can choose is chosen from a few of them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from foreman.domain.job import NOBODY
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.choose import OTHERS, Head, OrderRules, Standing
from foreman.domain.scheduling.scheduler_state import Rest, SchedulerState
from foreman.domain.scheduling.turns import Turn
from foreman.queue.board import Board
from foreman.queue.candidates import Candidates
from foreman.queue.occupancy import Occupancy
from tests.support.sites import only_site

RULES = OrderRules(limit=100, share=0.1)
NOW = 1000.0
KEYS = "abcdefgh"

lanes = st.dictionaries(
    st.tuples(st.sampled_from(KEYS), st.integers(0, 2)), st.tuples(st.integers(0, 400), st.integers(1, 9)), min_size=1
)


def board_of(lanes: dict[tuple[str, int], tuple[int, int]]) -> Board:
    board = Board()
    for (key, priority), (age, size) in lanes.items():
        board._put((key, priority, NOBODY), Head(key, priority, NOW - age, f"{key}{priority}"), size, 0)
    return board


@given(
    lanes,
    st.none() | st.tuples(st.sampled_from(KEYS), st.integers(0, 200)),
    st.sets(st.sampled_from(KEYS)),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
)
@example({("a", 1): (400, 1), ("b", 1): (300, 1)}, ("a", 150), set(), [0, 0, 0], [])  # the oldest one's turn is over
def test_a_claim_chooses_from_a_few_lanes_what_it_would_from_all(
    lanes: dict[tuple[str, int], tuple[int, int]],
    turn: tuple[str, int] | None,
    resting: set[str],
    credits: list[float],
    started: list[int],
) -> None:
    board = board_of(lanes)
    outlook = only_site(RULES)
    standing = Standing((Turn(turn[0], NOW - turn[1]),) if turn else (), tuple(credits), tuple(started))
    outlook.states = {"": SchedulerState(standing, {key: Rest(NOW, NOW + 9) for key in resting})}
    outlook.board = board
    few = Candidates(outlook, outlook.sites[""], Occupancy(), NOW).heads()
    all_of_them = [head for head in board.heads() if head.key not in resting]
    assert len(few) <= 3 + 5 + 7
    chosen = [choose.choose(heads, standing, running={}, now=NOW, rules=RULES) for heads in (few, all_of_them)]
    assert chosen[0] == chosen[1]


@given(lanes, st.sets(st.sampled_from(KEYS)), st.sampled_from(KEYS), st.integers(0, 2), st.integers(0, 9))
def test_what_goes_before_a_lane_is_all_there_in_the_order_of_age(
    lanes: dict[tuple[str, int], tuple[int, int]], resting: set[str], key: str, priority: int, most: int
) -> None:
    board = board_of(lanes)
    near = board.near(most, besides=[key], resting=resting, ahead_of=(key, priority))
    head = next((head for head in board.heads() if (head.key, head.priority) == (key, priority)), None)
    for number in range(priority + 1):
        before = [
            (one, lanes[one.key, one.priority][1])
            for one in board.heads()
            if one.priority == number and one.key not in resting
        ]
        if number == priority and head:
            before = [(one, size) for one, size in before if (one.since, one.id) < (head.since, head.id)]
        found = [
            (one, size)
            for one, size in near.lanes
            if one.priority == number
            and (number < priority or not head or one.key == OTHERS or (one.since, one.id) < (head.since, head.id))
        ]
        assert sum(size for _, size in found) == sum(size for _, size in before)
        assert len(found) - (number in near.others) + near.others.get(number, 0) == len(before)
        by_age = sorted(before, key=lambda lane: (lane[0].since, lane[0].id))
        assert [one for one in by_age[:most] if one not in found] == []
