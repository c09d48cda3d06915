"""Which webhook goes next, and how much of the room it may take."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman.domain.webhooks.admission import MOST_WAITING, REMEMBERED, Admission, Destination, Health, Limits, Place

LIMITS = Limits()
SILENT = 150  # receivers that accept and say nothing


def to(receiver: int | str, caller: str = "") -> Destination:
    return Destination(caller, f"http://{receiver}")


def all_of(admission: Admission) -> list[Place]:
    """Every place that is given now."""
    given: list[Place] = []
    while (place := admission.admit()) is not None:
        given.append(place)
    return given


def crowd(caller: str = "", *, count: int = SILENT, limits: Limits = LIMITS) -> Admission:
    """An admission whose places a caller's silent receivers have taken, as far as they may."""
    admission = Admission(limits)
    for n in range(count):
        admission.wait(to(n, caller), n)
    all_of(admission)
    return admission


def known(admission: Admission, destination: Destination, health: Health) -> Destination:
    admission.learn(destination, health)
    return destination


def next_of(admission: Admission, destination: Destination, due_at: float = 1e6) -> Destination | None:
    """Who gets the next place once this one waits too."""
    admission.wait(destination, due_at)
    place = admission.admit()
    return place.destination if place else None


@pytest.mark.parametrize("together", [8, 32, 100])
def test_a_new_receiver_of_another_caller_finds_a_place_at_once(together: int) -> None:
    admission = crowd("a", limits=Limits(together))
    assert admission.waiting() > 0
    assert next_of(admission, to("new", "b")) == to("new", "b")


@pytest.mark.parametrize("together", [4, 5, 8, 32])
@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.ILL])
def test_a_receiver_that_is_well_finds_one_beside_silent_ones_of_its_own_caller(together: int, health: Health) -> None:
    admission = Admission(Limits(together))
    for n in range(SILENT):
        if health is Health.ILL:
            admission.learn(to(n), health)
        admission.wait(to(n), n)
    all_of(admission)
    well = known(admission, to("well"), Health.WELL)
    assert next_of(admission, well) == well


@pytest.mark.parametrize("together", [8, 32])
def test_a_new_receiver_finds_one_beside_ill_ones_of_its_own_caller(together: int) -> None:
    admission = Admission(Limits(together))
    for n in range(SILENT):
        admission.wait(known(admission, to(n), Health.ILL), n)
    all_of(admission)
    assert next_of(admission, to("new")) == to("new")


def test_slow_receivers_of_a_caller_leave_places_to_others_even_where_all_are_well() -> None:
    admission = Admission(LIMITS)
    for n in range(SILENT):
        admission.wait(known(admission, to(n, "a"), Health.WELL), n)
    taken = all_of(admission)
    assert len(taken) == 25  # of 32: it holds three times the eight that were left before the last one
    assert next_of(admission, to("new", "b")) == to("new", "b")


def test_the_caller_with_the_fewest_places_goes_first() -> None:
    admission = crowd("a", count=10)
    for n in range(4):
        admission.wait(to(f"b{n}", "b"), n)
    assert len(all_of(admission)) == 4
    admission.wait(to("a-more", "a"), 0.0)
    assert next_of(admission, to("b-more", "b")) == to("b-more", "b")


def test_the_newest_of_a_callers_unknown_receivers_takes_turns_with_the_oldest() -> None:
    admission = Admission(LIMITS)
    for n in range(6):
        admission.wait(to(n), n)
    assert [place.destination for place in all_of(admission)] == [to(n) for n in (0, 5, 1, 4, 2, 3)]


def test_the_newest_that_takes_turns_is_never_one_that_is_tried_again() -> None:
    admission = Admission(LIMITS)
    for n in range(4):
        admission.wait(known(admission, to(f"ill-{n}"), Health.ILL), 100 + n)
        admission.wait(to(n), n)
    order = [to(n) for n in (0, 3, 1, 2)] + [to(f"ill-{n}") for n in range(4)]
    assert [place.destination for place in all_of(admission)] == order


def test_a_receiver_in_trouble_gets_one_place_and_one_that_is_well_its_four() -> None:
    admission = Admission(LIMITS)
    for health, places in ((Health.UNKNOWN, 1), (Health.ILL, 1), (Health.WELL, 4)):
        destination = to(health.name)
        if health is not Health.UNKNOWN:
            admission.learn(destination, health)
        for _ in range(9):
            admission.wait(destination, 0)
            admission.admit()
        assert admission.places(destination) == places


def test_a_receiver_of_two_callers_gets_no_more_than_its_places_and_the_other_comes_next() -> None:
    admission = Admission(LIMITS)
    mine, other = (known(admission, to("shared", caller), Health.WELL) for caller in "ab")
    held = []
    for n in range(4):
        admission.wait(mine, n)
        held += all_of(admission)
    assert next_of(admission, other) is None
    admission.leave(held.pop())
    admission.wait(mine, 0)
    assert [place.destination for place in all_of(admission)] == [other]


def test_a_receiver_that_fails_while_it_waits_waits_among_the_ill() -> None:
    admission = Admission(Limits(together=4))
    well = known(admission, to("was-well"), Health.WELL)
    ill = [known(admission, to(n), Health.ILL) for n in range(2)]
    for destination in ill:
        admission.wait(destination, 0)
    assert len(all_of(admission)) == 2  # all that the ill may have of the four
    admission.wait(well, 1)
    admission.learn(well, Health.ILL)
    assert admission.admit() is None


def test_no_caller_makes_another_ones_history_be_forgotten() -> None:
    admission = Admission(LIMITS)
    well = known(admission, to("well", "b"), Health.WELL)
    for n in range(REMEMBERED + 10):
        admission.learn(to(n, "a"), Health.ILL)
    assert admission.health(well) is Health.WELL
    assert admission.health(to(0, "a")) is Health.UNKNOWN  # the oldest of its own
    assert admission.health(to(REMEMBERED + 9, "a")) is Health.ILL


def test_what_is_kept_of_those_that_wait_is_bounded_and_says_when_it_has_room_again() -> None:
    admission = Admission(LIMITS)
    for n in range(5 * MOST_WAITING):
        admission.wait(to(n), n)
    assert admission.waiting() == MOST_WAITING
    first, second = admission.admit(), admission.admit()
    assert first and second
    assert (first.destination, second.destination) == (to(0), to(5 * MOST_WAITING - 1))  # both ends are there
    assert not admission.is_short()
    places = deque([first, second])
    while admission.waiting() > MOST_WAITING // 2:
        admission.leave(places.popleft())
        places += all_of(admission)
    assert admission.is_short()
    assert not admission.is_short(), "said again without anything left out"


Story = list[tuple[int, int, Health, bool]]  # caller, receiver, how its attempts end, whether it has much to deliver
STORIES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.sampled_from(Health), st.booleans()), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(STORIES, st.integers(1, 40), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_one_is_served_and_no_limit_is_passed(story: Story, together: int, per: int, dice: object) -> None:
    limits = Limits(together, per)
    admission = Admission(limits)
    left: Counter[Destination] = Counter()
    ends: dict[Destination, Health] = {}
    for due, (caller, receiver, health, much) in enumerate(story):
        destination = to(receiver, str(caller))
        left[destination] += 5 if much else 1
        ends[destination] = health
        admission.wait(destination, due)
    held: list[Place] = []
    for _ in range(10 * sum(left.values())):
        held += all_of(admission)
        if not held:
            break
        for k, most in enumerate(limits.places):
            assert sum(place.health >= k for place in held) <= most
        assert max(Counter(place.destination.receiver for place in held).values()) <= per
        place = held.pop(dice.randrange(len(held)))  # type: ignore[attr-defined]
        left[place.destination] -= 1
        if ends[place.destination] is not Health.UNKNOWN:
            admission.learn(place.destination, ends[place.destination])
        admission.leave(place)
        if left[place.destination] > 0:
            admission.wait(place.destination, 1e9)
    assert (held, admission.waiting()) == ([], 0)
    assert all(n <= 0 for n in left.values())
