"""The order of work."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreman.schedule import Head, Resident, Slice, ahead, choose, tier

LIMIT = 100.0
NOW = 1_000.0
HIGH, NORMAL, LOW = 0, 1, 2


def head(key: str, priority: int = NORMAL, *, waits: float = 0, id: str = "x") -> Head:
    return Head(key, priority, NOW - waits, id)


def next_key(*heads: Head, resident: Resident | None = None) -> str | None:
    chosen = choose(heads, resident, now=NOW, limit=LIMIT)
    return chosen.key if chosen else None


def working_on(key: str, *, seconds: float = 1) -> Resident:
    return Resident(key, NOW - seconds)


def test_nothing_waits_so_nothing_is_chosen() -> None:
    assert choose([], None, now=NOW, limit=LIMIT) is None


def test_a_job_climbs_one_tier_for_each_wait_of_the_limit() -> None:
    climbed = [tier(LOW, NOW - waits, now=NOW, limit=LIMIT) for waits in (0, 99, 100, 199, 200)]
    assert climbed == [2, 2, 1, 1, 0]


def test_ageing_ends_at_the_highest_tier() -> None:
    assert tier(LOW, 0, now=1e12, limit=1) == 0
    assert tier(HIGH, 0, now=1e12, limit=1) == 0


def test_a_clock_set_back_never_lowers_a_job() -> None:
    assert tier(NORMAL, NOW + 10_000, now=NOW, limit=LIMIT) == NORMAL


def test_the_resident_key_goes_on_while_older_jobs_of_its_tier_wait() -> None:
    assert next_key(head("a"), head("b", waits=50), resident=working_on("a")) == "a"


def test_the_turn_of_the_resident_key_ends_after_the_limit_when_others_of_its_tier_wait() -> None:
    assert next_key(head("a", waits=50), head("b"), resident=working_on("a", seconds=LIMIT)) == "b"


def test_a_turn_that_is_over_goes_on_when_nobody_of_its_tier_waits() -> None:
    assert next_key(head("a"), head("b", LOW), resident=working_on("a", seconds=10 * LIMIT)) == "a"


def test_without_a_resident_the_oldest_goes_first() -> None:
    assert next_key(head("a", waits=1), head("b", waits=2), head("c")) == "b"


def test_of_the_same_age_the_smaller_id_goes_first() -> None:
    assert next_key(head("a", id="2"), head("b", id="1")) == "b"


def test_a_high_job_overtakes_the_resident_key() -> None:
    assert next_key(head("a", waits=50), head("b", HIGH), resident=working_on("a")) == "b"


def test_a_low_job_that_waited_long_enough_goes_before_the_high_jobs_that_came_later() -> None:
    assert next_key(head("a", HIGH, waits=1), head("b", LOW, waits=2 * LIMIT)) == "b"


def test_a_lone_key_starts_within_the_limit_behind_an_endless_stream_of_the_resident_one() -> None:
    resident, lone, now = Resident("a", 0.0), Head("b", NORMAL, 0.0, "1"), 0.0
    while choose([Head("a", NORMAL, now - 0.5, "2"), lone], resident, now=now, limit=LIMIT) is not lone:
        now += 1
        assert now <= LIMIT
    assert now == LIMIT


Waiting = list[Head]

jobs = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 350)),
    min_size=1,
    max_size=12,
)
residents = st.none() | st.builds(lambda key, s: Resident(key, NOW - s), st.sampled_from("abcde"), st.integers(0, 150))


def played(waiting: Waiting, resident: Resident | None) -> Waiting:
    """The order in which a worker would take them if nothing arrived and nothing aged."""
    left, order = list(waiting), []
    while left:
        # The head of a lane is its oldest job, as the store gives it.
        lanes: dict[tuple[str, int], Head] = {}
        for job in sorted(left, key=lambda job: (job.since, job.id), reverse=True):
            lanes[job.key, job.priority] = job
        chosen = choose(lanes.values(), resident, now=NOW, limit=LIMIT)
        assert chosen is not None
        if resident is None or resident.key != chosen.key:
            resident = Resident(chosen.key, NOW)
        left.remove(chosen)
        order.append(chosen)
    return order


def sliced(waiting: Waiting) -> list[Slice]:
    lanes: dict[tuple[str, int, int], Waiting] = {}
    for job in waiting:
        level = tier(job.priority, job.since, now=NOW, limit=LIMIT)
        lanes.setdefault((job.key, job.priority, level), []).append(job)
    return [
        Slice(key, level, min((job.since, job.id) for job in part), len(part))
        for (key, _, level), part in lanes.items()
    ]


@settings(max_examples=300)
@example([("a", NORMAL, 0), ("a", LOW, 0), ("b", LOW, 1)], Resident("a", NOW - LIMIT))  # its turn stays over
@given(jobs, residents)
def test_ahead_counts_what_repeated_choice_would_take_first(
    waiting: list[tuple[str, int, int]], resident: Resident | None
) -> None:
    heads = [head(key, priority, waits=waits, id=f"{n:02}") for n, (key, priority, waits) in enumerate(waiting)]
    order = played(heads, resident)
    for job in heads:
        level = tier(job.priority, job.since, now=NOW, limit=LIMIT)
        before = ahead(sliced(heads), resident, key=job.key, at_tier=level, now=NOW, limit=LIMIT)
        own = [
            other
            for other in heads
            if other.key == job.key
            and tier(other.priority, other.since, now=NOW, limit=LIMIT) == level
            and (other.since, other.id) < (job.since, job.id)
        ]
        assert before + len(own) == order.index(job)


@given(jobs)
def test_within_a_tier_a_backlog_of_k_keys_costs_k_loads(waiting: list[tuple[str, int, int]]) -> None:
    heads = [head(key, NORMAL, waits=waits % 100, id=f"{n:02}") for n, (key, _, waits) in enumerate(waiting)]
    order = [job.key for job in played(heads, None)]
    loads = Counter(key for n, key in enumerate(order) if n == 0 or order[n - 1] != key)
    assert loads == Counter(set(order))
