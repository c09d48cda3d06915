"""Figures of usage: what is counted where, and what is told of steps in which nothing happened."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from foreman.domain.job import Draft, Job, Priority, State, queued
from foreman.domain.usage import (
    DAY,
    HOUR,
    MINUTE,
    WAITS,
    Depth,
    Figures,
    Group,
    Row,
    Slot,
    Tally,
    Tokens,
    every_step,
    kept_since,
)

T = 7200  # the beginning of an hour
GROUP = Group("m:latest", "alice", "ollama", "/api/chat")
DRAFT = Draft(id="1", model="m", key='m:latest {"num_ctx":8}', endpoint="/api/chat", payload=b"", owner="alice")
SUBMITTED = queued(DRAFT, T)
JOB = Job(
    id="1",
    state=State.QUEUED,
    model="m",
    key=DRAFT.key,
    endpoint="/api/chat",
    priority=Priority.NORMAL,
    attempt=0,
    max_attempts=3,
    fence=0,
    created_at=T,
    since=T,
    owner="alice",
)


def figures(waits: dict[int, int]) -> Figures:
    """Figures with so many waits in these buckets."""
    return Figures(waits=[waits.get(bucket, 0) for bucket in range(len(WAITS) + 1)])


def go(tally: Tally, job: Job, state: State, now: float) -> Job:
    started = job.started_at or (now if state is State.LOADING else None)
    after = replace(job, state=state, started_at=started)
    tally.changed(after, job.state, now, first=started is not None and job.started_at is None)
    return after


def test_a_step_in_which_nothing_started_has_no_wait() -> None:
    assert Figures().wait(0.5) is None


@pytest.mark.parametrize(
    ("waits", "half", "most"),
    [
        ({0: 100}, 0.025, 0.0475),  # up to 0.05 s
        ({4: 10}, 0.75, 0.975),  # from 0.5 s to 1 s
        ({0: 50, 10: 50}, 0.05, 57.0),
        ({0: 94, 10: 6}, 0.05 * 50 / 94, 35.0),
        ({len(WAITS): 3}, 86400.0, 86400.0),  # more is not known
        ({3: 1}, 0.35, 0.485),
    ],
)
def test_waits_are_told_to_within_their_bucket(waits: dict[int, int], half: float, most: float) -> None:
    assert figures(waits).wait(0.5) == pytest.approx(half)
    assert figures(waits).wait(0.95) == pytest.approx(most)


def test_a_life_is_counted_in_the_minute_and_the_hour_in_which_it_went_on() -> None:
    tally = Tally("ollama", waiting=0)
    tally.submitted([SUBMITTED], T + 30)
    working = go(tally, go(tally, JOB, State.LOADING, T + 90.5), State.WORKING, T + 91)
    tally.used(working, T + 150, tokens=Tokens(10, 4, 2), loads=1)
    go(tally, working, State.DONE, T + 150)
    minute = [tally.figures[Slot(MINUTE, T + second, GROUP)] for second in (0, 60, 120)]
    assert [one.submitted for one in minute] == [1, 0, 0]
    assert [sum(one.waits) for one in minute] == [0, 1, 0]
    assert [one.done for one in minute] == [0, 0, 1]
    assert [one.busy_seconds for one in minute] == [0, 29.5, 30]
    assert (minute[2].prompt_tokens, minute[2].cached_tokens, minute[2].answer_tokens, minute[2].loads) == (10, 4, 2, 1)
    hour = tally.figures.pop(Slot(HOUR, T, GROUP))
    assert (hour.submitted, hour.done, sum(hour.waits), hour.busy_seconds) == (1, 1, 1, 59.5)
    assert hour.waits[WAITS.index(120)] == 1
    assert {slot.step for slot in tally.figures} == {MINUTE}


def test_an_attempt_of_days_is_put_into_its_hours_and_the_minutes_that_are_kept() -> None:
    tally = Tally("ollama", waiting=1)
    running = go(tally, JOB, State.LOADING, T)
    tally.commit(tally.depths())
    go(tally, running, State.FAILED, T + 3 * DAY)
    busy = {step: [one.busy_seconds for slot, one in tally.figures.items() if slot.step == step] for step in (60, 3600)}
    assert busy[HOUR] == [HOUR] * 72 + [0]
    assert sum(busy[MINUTE]) == DAY and len(busy[MINUTE]) == 24 * 60 + 1


def test_an_attempt_of_an_earlier_process_and_a_clock_set_back_cost_no_time() -> None:
    tally = Tally("ollama", waiting=0)
    go(tally, replace(JOB, state=State.WORKING), State.QUEUED, T + 500)
    other = go(tally, replace(JOB, id="2"), State.LOADING, T + 500)
    go(tally, other, State.QUEUED, T + 100)
    assert sum(one.busy_seconds for one in tally.figures.values()) == 0


def test_a_wait_is_counted_once_and_a_retry_by_hand_is_a_new_job() -> None:
    tally = Tally("ollama", waiting=0)
    tally.submitted([SUBMITTED], T)
    first = go(tally, go(tally, JOB, State.LOADING, T + 1), State.QUEUED, T + 2)
    failed = go(tally, go(tally, first, State.LOADING, T + 3), State.FAILED, T + 4)
    again = go(tally, replace(failed, started_at=None), State.QUEUED, T + 5)
    go(tally, go(tally, again, State.LOADING, T + 6), State.DONE, T + 7)
    one = tally.figures[Slot(HOUR, T, GROUP)]
    assert (one.submitted, one.failed, one.done, sum(one.waits)) == (2, 1, 1, 2)


def test_what_is_rolled_back_was_never_counted() -> None:
    tally = Tally("ollama", waiting=3)
    tally.submitted([SUBMITTED], T)
    tally.forget()
    assert (tally.figures, tally.depths()) == ({}, [])
    running = go(tally, JOB, State.LOADING, T)
    tally.commit(tally.depths())
    go(tally, running, State.DONE, T + 9)
    tally.forget()
    go(tally, running, State.DONE, T + 30)
    assert tally.figures[Slot(MINUTE, T, GROUP)].busy_seconds == 30


def test_the_depth_is_the_most_at_once_and_what_waited_before() -> None:
    tally = Tally("ollama", waiting=2)
    for number in range(3):
        tally.submitted([replace(SUBMITTED, id=f"{number}")], T + 30)
    assert tally.depths() == [Depth(MINUTE, T, 2, 5, 0), Depth(HOUR, T, 2, 5, 0)]
    tally.commit(tally.depths())
    running = go(tally, JOB, State.LOADING, T + 40)
    assert tally.depths() == [Depth(MINUTE, T, 2, 5, 1), Depth(HOUR, T, 2, 5, 1)]
    tally.commit(tally.depths())
    go(tally, replace(JOB, id="2"), State.CANCELLED, T + 50)
    assert tally.depths() == []
    tally.commit(tally.depths())
    go(tally, running, State.DONE, T + 61)
    assert tally.depths() == [Depth(MINUTE, T + 60, 3, 3, 1)]


def test_a_long_run_has_a_depth_in_every_minute_in_which_it_is_sampled() -> None:
    tally = Tally("ollama", waiting=1)
    tally.sample(T)
    assert tally.depths() == []
    go(tally, JOB, State.LOADING, T)
    tally.commit(tally.depths())
    found = []
    for second in (30, 60, 90, 120):
        tally.sample(T + second)
        found += tally.depths()
        tally.commit(tally.depths())
    assert found == [Depth(MINUTE, T + 60, 0, 0, 1), Depth(MINUTE, T + 120, 0, 0, 1)]


def told(rows: list[Row]) -> list[tuple[int | None, int | None]]:
    return [(row.waiting, row.running) for row in rows]


def test_an_idle_step_has_what_waited_before_and_nothing_that_ran() -> None:
    depths = [Depth(MINUTE, T + 60, 1, 7, 2), Depth(MINUTE, T + 240, 4, 4, 1), Depth(MINUTE, T + 600, 9, 9, 9)]
    rows = [Row(T + 60, None, Figures(done=3))]
    asked = {"begin": T, "end": T + 360, "step": MINUTE, "live": (5, 3)}
    steps = every_step(rows, depths, now=T + 900, **asked)  # type: ignore[arg-type]
    assert [row.at for row in steps] == [T, T + 60, T + 120, T + 180, T + 240, T + 300]
    assert [row.figures.done for row in steps] == [0, 3, 0, 0, 0, 0]
    assert told(steps) == [(1, 0), (7, 2), (4, 0), (4, 0), (4, 1), (9, 0)]
    # The step under way has what is so now. What lies in the future, of a clock that was ahead, says nothing.
    assert told(every_step(rows, depths, now=T + 350, **asked))[-2:] == [(4, 1), (5, 3)]  # type: ignore[arg-type]


def test_without_any_depth_all_is_as_it_is_now() -> None:
    steps = every_step([], [], begin=T, end=T + 180, step=MINUTE, now=T + 130, live=(5, 1))
    assert told(steps) == [(5, 0), (5, 0), (5, 1)]


def test_a_day_has_the_most_of_its_hours() -> None:
    depths = [Depth(HOUR, DAY + HOUR, 1, 7, 2), Depth(HOUR, DAY + 3 * HOUR, 2, 3, 4)]
    steps = every_step([], depths, begin=DAY, end=3 * DAY, step=DAY, now=9 * DAY, live=(0, 0))
    assert told(steps) == [(7, 4), (0, 0)]


@pytest.mark.parametrize(
    ("step", "history", "since"),
    [
        (MINUTE, 0, 9 * DAY + HOUR - MINUTE),
        (HOUR, 0, 0),
        (HOUR, 2 * DAY, 7 * DAY),
        (DAY, 2 * DAY, 7 * DAY),
    ],
)
def test_hours_are_kept_by_whole_days_and_one_step_longer(step: int, history: float, since: int) -> None:
    assert kept_since(step, 10 * DAY + HOUR + 0.5, history) == since
