"""The budget of bytes that is shared by all that is under way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from foreman.budget import GRACE, Budget
from foreman.domain.errors import Cost, MemoryFull

BIG = 640 * 2**10  # bytes


def test_what_finds_no_room_beside_the_others_is_refused_until_they_are_gone() -> None:
    budget = Budget(2 * BIG)
    with budget.lease() as one, budget.lease() as other:
        one.grow(BIG)
        other.grow(BIG - 1)
        with pytest.raises(MemoryFull) as refused:
            other.grow(2)
        assert (refused.value.cost, other.size, budget.used) == (Cost.NOTHING, BIG - 1, 2 * BIG - 1)
        one.resize(BIG - 1)
        other.grow(2)
    assert budget.used == 0


def test_what_would_not_fit_alone_is_told_from_what_finds_no_room_now() -> None:
    with pytest.raises(MemoryFull) as refused:
        Budget(BIG).lease().grow(BIG + 1)
    assert refused.value.cost is Cost.JOB


def test_what_is_small_passes_under_a_full_budget() -> None:
    budget = Budget(BIG)
    full, small = budget.lease(), budget.lease()
    full.grow(BIG)
    for _ in range(64):
        small.grow(1000)
    with pytest.raises(MemoryFull):
        small.grow(2000)
    assert budget.used == BIG


def test_a_lease_that_nobody_holds_any_more_counts_no_more() -> None:
    budget = Budget(BIG)
    budget.lease().grow(BIG)
    assert budget.used == 0


class Held:
    """What is held for a client."""

    def __init__(self, budget: Budget, size: int) -> None:
        self.fence = budget.lease()
        self.fence.grow(size)
        self.fence.give_way(self)
        self.gone = False

    def let_go(self) -> None:
        self.gone = True


async def test_what_is_held_for_slow_clients_gives_way_the_slowest_first(autojump_clock: MockClock) -> None:
    budget = Budget(4 * BIG)
    needed = budget.lease()
    needed.grow(BIG)
    first = Held(budget, BIG)
    await trio.sleep(GRACE)
    second = Held(budget, BIG)
    with budget.lease() as other:
        other.grow(2 * BIG)
        assert (first.gone, second.gone, budget.used) == (True, False, 4 * BIG)
        with pytest.raises(MemoryFull):
            other.grow(BIG)  # the second has not had its time
        await trio.sleep(GRACE)
        other.grow(BIG)
    assert second.gone
    assert budget.used == needed.size


async def test_what_is_held_for_more_than_a_client_does_not_give_way(autojump_clock: MockClock) -> None:
    budget = Budget(BIG)
    held = Held(budget, BIG)
    held.fence.keep()
    await trio.sleep(GRACE)
    with pytest.raises(MemoryFull):
        budget.lease().grow(BIG)
    with pytest.raises(MemoryFull):
        held.fence.grow(1)
    assert not held.gone


async def test_time_counts_while_something_is_held(autojump_clock: MockClock) -> None:
    budget = Budget(BIG)
    held = Held(budget, BIG)
    held.fence.free()
    await trio.sleep(GRACE)
    held.fence.grow(BIG)
    with pytest.raises(MemoryFull):
        budget.lease().grow(BIG)


async def test_what_can_never_fit_takes_nothing_away(autojump_clock: MockClock) -> None:
    budget = Budget(BIG)
    held = Held(budget, BIG)
    await trio.sleep(GRACE)
    with pytest.raises(MemoryFull):
        budget.lease().grow(BIG + 1)
    assert not held.gone


async def test_nobody_takes_away_its_own(autojump_clock: MockClock) -> None:
    held = Held(Budget(BIG), BIG - 1)
    await trio.sleep(GRACE)
    with pytest.raises(MemoryFull):
        held.fence.grow(BIG)
    assert not held.gone
