"""When slots are free: one target, and several that share jobs."""

from __future__ import annotations

import pytest

from foreman.domain.scheduling.capacity import Capacity, Slots


def of(*targets: Slots) -> Capacity:
    return Capacity(targets)


def test_one_target_takes_the_jobs_by_turns_and_loads_when_all_slots_are_free() -> None:
    began = of(Slots([0.0, 3.0], "a")).switch("a", 5, 40, last=True)
    assert [began.starts(number, 10) for number in range(4)] == [0, 3, 10, 13]
    after = began.take(3, 10).switch("b", 5, 10, last=True)
    assert after.targets == [Slots([25, 25], "b")]


def test_a_key_is_one_targets_while_others_have_their_own() -> None:
    began = of(Slots([0.0], "a"), Slots([7.0], "b"))
    assert began.switch("a", 5, 100, last=False).starts(3, 10) == 30
    third = began.switch("a", 5, 100, last=False).take(10, 10).switch("c", 5, 100, last=False)
    assert third.starts(0, 10) == 7 + 5  # by the one that is free first


@pytest.mark.parametrize(("work", "shared"), [(100, True), (11, False)])
def test_the_last_key_is_shared_where_loading_it_once_more_pays(work: float, shared: bool) -> None:
    began = of(Slots([0.0], "a"), Slots([7.0], "b")).switch("a", 5, work, last=True)
    assert len(began.holders) == 1 + shared
    if shared:
        assert [began.starts(number, 10) for number in (0, 1, 2, 4)] == [0, 10, 16, 26]
        assert began.take(4, 10).targets == [Slots([26], "a"), Slots([26], "a")]
