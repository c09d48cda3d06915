"""The budget of bytes that is shared by all that is under way."""

from __future__ import annotations

import pytest

from foreman.budget import Budget
from foreman.errors import Cost, MemoryFull

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
