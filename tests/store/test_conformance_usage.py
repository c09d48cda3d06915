"""What every storage engine must do: figures of usage, kept with what they count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreman.domain import usage
from foreman.domain.job import State
from foreman.domain.usage import DAY, HOUR, MINUTE, Depth, Figures, Group, Price, Slot, Tokens
from foreman.store.sql import usage as sql
from tests.store.conftest import Store, add, claimed, done, draft, put
from tests.support.queue import writing

T = 7200  # the beginning of an hour


def rows(store: Store, step: int = MINUTE, by: str | None = None, end: int = 100 * DAY, begin: int = 0) -> list[Any]:
    return store.usage(step=step, begin=begin, end=end, by=by, limit=1000)


def test_what_happens_to_jobs_is_counted_by_minute_hour_and_day(store: Store) -> None:
    jobs = add(store, *(draft(n) for n in range(4)), now=T + 10)
    done(store, jobs[0], now=T + 20)
    put(store, claimed(store, jobs[1], now=T + 70), T + 75, state=State.FAILED)
    put(store, jobs[2], T + HOUR, state=State.CANCELLED)
    put(store, jobs[3], T + DAY, state=State.EXPIRED)
    with writing(store) as ledger:
        ledger.tally.used(jobs[0], T + 20, tokens=Tokens(7, 5, 3), loads=2)
    minutes = [(row.at - T, row.figures) for row in rows(store)]
    assert [at for at, _ in minutes] == [0, 60, HOUR, DAY]
    first, second, third, fourth = (figures for _, figures in minutes)
    assert (first.submitted, first.done, first.failed, first.loads) == (4, 1, 0, 2)
    assert (first.prompt_tokens, first.cached_tokens, first.answer_tokens) == (7, 5, 3)
    assert (second.submitted, second.failed, second.busy_seconds) == (0, 1, 5)
    assert (third.cancelled, fourth.expired) == (1, 1)
    assert [(row.at - T, row.figures.submitted) for row in rows(store, HOUR)] == [(0, 4), (HOUR, 0), (DAY, 0)]
    days = rows(store, DAY)
    assert [row.at for row in days] == [0, DAY]
    assert sum(days[0].figures.waits) == 2
    assert days[0].figures.wait(0.5) == pytest.approx(10)  # one waited so long, the other a minute


def test_a_job_that_is_claimed_again_at_the_same_time_has_waited_once(store: Store) -> None:
    [job] = add(store, draft(1), now=T)
    for _ in range(2):
        job = put(store, claimed(store, job, now=T + 5), T + 5, state=State.QUEUED)
    assert [sum(row.figures.waits) for row in rows(store)] == [1]
    by_hand = put(store, put(store, job, T + 5, state=State.FAILED), T + 5, state=State.QUEUED, started_at=None)
    claimed(store, by_hand, now=T + 5)
    assert [sum(row.figures.waits) for row in rows(store)] == [2]


def test_rows_are_by_model_caller_target_and_endpoint(store: Store) -> None:
    b = draft(2, model="b:latest", key='b:latest {"num_ctx":8}', owner="bob", endpoint="/v1/messages")
    add(store, draft(1, owner="alice"), b, draft(3, owner="bob"), now=T)
    add(store, draft(4), now=T + 60)

    def by(name: str) -> list[tuple[int, str | None, int]]:
        return [(row.at - T, row.by, row.figures.submitted) for row in rows(store, by=name)]

    assert by("model") == [(0, "b:latest", 1), (0, "m", 2), (60, "m", 1)]
    assert by("caller") == [(0, "alice", 1), (0, "bob", 2), (60, "", 1)]
    assert by("endpoint") == [(0, "/api/chat", 2), (0, "/v1/messages", 1), (60, "/api/chat", 1)]
    assert by("target") == [(0, "", 3), (60, "", 1)]
    assert [row.by for row in rows(store)] == [None, None]
    assert [(row.at, row.figures.submitted) for row in rows(store, begin=T, end=T + 60)] == [(T, 3)]
    assert len(store.usage(step=MINUTE, begin=0, end=DAY, by="model", limit=2)) == 2


def test_figures_outlive_the_process_and_the_jobs(open_store: Callable[[], Store]) -> None:
    store = open_store()
    [job] = add(store, draft(1), now=T)
    done(store, job, now=T + 5)
    before = rows(store)
    store = open_store()
    with store.transaction():
        store.delete(["001"])
    assert rows(store) == before
    add(store, draft(2), now=T + 6)
    [after] = rows(store)
    assert (after.figures.submitted, after.figures.done) == (2, 1)


def test_a_transaction_that_raises_counts_nothing(store: Store) -> None:
    add(store, draft(1), now=T)
    before = rows(store), store.depths(step=MINUTE, begin=0, end=DAY)

    def fail() -> None:
        with writing(store, T + 1) as ledger:
            ledger.add([draft(2), draft(3)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    add(store, draft(4), now=T + 2)
    [row] = rows(store)
    assert row.figures.submitted == 2
    [depth] = store.depths(step=MINUTE, begin=0, end=DAY) or []
    assert (depth.first, depth.waiting) == (0, 2)
    assert before[0][0].figures.submitted == 1


def test_a_step_keeps_so_many_groups_apart_and_no_more(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MOST_GROUPS", 3)
    store = open_store()
    add(store, *(draft(n, model=f"m{n}", owner="me") for n in range(5)), now=T)
    add(store, draft(5, model="m1", owner="me"), draft(6, model="m6", owner="me", endpoint="/api/generate"), now=T)
    store = open_store()  # the groups are looked up again
    add(store, draft(7, model="m7", owner="you"), draft(8, model="m2", owner="me"), now=T)
    add(store, draft(9, model="m9", owner="you"), now=T + 60)  # a new minute has room of its own; the hour has none
    minutes = {(row.at - T, row.by): row.figures.submitted for row in rows(store, by="model")}
    assert minutes == {(0, "m0"): 1, (0, "m1"): 2, (0, "m2"): 2, (0, "other"): 4, (60, "m9"): 1}
    assert {row.by: row.figures.submitted for row in rows(store, HOUR, by="model")} == {
        "m0": 1,
        "m1": 2,
        "m2": 2,
        "other": 5,
    }
    assert {row.by: row.figures.submitted for row in rows(store, HOUR, by="caller")} == {"me": 5, "other": 5}
    assert {row.by for row in rows(store, by="endpoint")} == {"/api/chat", "/api/generate"}
    add(store, draft(10, model="m10", owner="other"), now=T + 60)
    asked: dict[str, Any] = {"begin": 0, "end": DAY, "by": None, "limit": 10}
    told = [
        sum(row.figures.submitted for row in store.usage(step=MINUTE, only={"caller": caller}, **asked))
        for caller in ("me", "you", "other")
    ]
    assert told == [5, 1, 1]  # a caller that is named like the rest is told nothing of the rest


def test_the_depth_is_kept_where_it_changes_and_raised_within_a_step(open_store: Callable[[], Store]) -> None:
    store = open_store()
    jobs = add(store, draft(1), draft(2, not_before=9e9), now=T + 5)
    running = claimed(store, jobs[0], now=T + 6)
    add(store, draft(3), draft(4), now=T + 130)
    put(store, running, T + 200, state=State.FAILED)
    assert store.depths(step=MINUTE, begin=0, end=T + 180) == [
        Depth(MINUTE, T, 0, 2, 1),
        Depth(MINUTE, T + 120, 1, 3, 1),
        Depth(MINUTE, T + 180, 3, 3, 1),  # the next one, to know how many waited up to it
    ]
    assert store.depths(step=DAY, begin=0, end=DAY) == [Depth(HOUR, T, 0, 3, 1)]
    store = open_store()  # in the same minute
    add(store, draft(5), now=T + 210)
    assert store.depths(step=MINUTE, begin=T + 180, end=DAY) == [Depth(MINUTE, T + 180, 3, 4, 1)]


def test_what_an_earlier_process_ran_does_not_run_and_its_time_is_not_counted(open_store: Callable[[], Store]) -> None:
    store = open_store()
    [job] = add(store, draft(1), now=T)
    running = claimed(store, job, now=T)
    store = open_store()
    put(store, running, T + 600, state=State.QUEUED)
    assert store.depths(step=MINUTE, begin=T + 600, end=DAY) == [Depth(MINUTE, T + 600, 0, 1, 0)]
    assert sum(row.figures.busy_seconds for row in rows(store)) == 0


def test_a_long_run_is_kept_in_every_minute_in_which_it_is_sampled(store: Store) -> None:
    [job] = add(store, draft(1), now=T)
    claimed(store, job, now=T)
    for now in (T + 59, T + 61, T + 90):
        with writing(store) as ledger:
            ledger.tally.sample(now)
    assert store.depths(step=MINUTE, begin=0, end=DAY) == [Depth(MINUTE, T, 0, 1, 1), Depth(MINUTE, T + 60, 0, 0, 1)]


def test_old_figures_are_pruned_a_part_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "PRUNED_AT_ONCE", 4)
    for n in range(10):
        add(store, draft(n), now=n * HOUR)

    def prune(minutes: int, hours: int) -> tuple[list[int], list[int]]:
        with store.transaction():
            store.prune_usage(minutes=minutes, hours=hours)
        return [row.at // HOUR for row in rows(store)], [row.at // HOUR for row in rows(store, HOUR)]

    assert prune(0, 0) == (list(range(10)), list(range(10)))
    assert prune(6 * HOUR, 2 * HOUR) == ([4, 5, 6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8, 9])
    assert prune(6 * HOUR, 2 * HOUR) == ([6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8, 9])
    assert [depth.at // HOUR for depth in store.depths(step=MINUTE, begin=0, end=DAY) or []] == [6, 7, 8, 9]


def test_the_columns_are_those_that_are_counted(store: Store) -> None:
    every = draft(1)
    [job] = add(store, every, now=T)
    with writing(store) as ledger:
        ledger.tally.used(job, T, tokens=Tokens(1, 2, 3), loads=4)
    [row] = rows(store)
    assert {name: getattr(row.figures, name) for name in usage.COUNTS} == dict.fromkeys(usage.COUNTS, 0) | {
        "submitted": 1,
        "prompt_tokens": 1,
        "cached_tokens": 2,
        "answer_tokens": 3,
        "loads": 4,
    }


def test_only_what_was_done_for_a_name_is_counted_where_one_is_asked_for(open_store: Callable[[], Store]) -> None:
    store = open_store()
    add(
        store, draft(1, model="a", owner="me"), draft(2, model="b", owner="me"), draft(3, model="a", owner="you"), now=T
    )

    def submitted(by: str | None = None, **only: str) -> dict[str | None, int]:
        found = store.usage(step=HOUR, begin=0, end=DAY, by=by, limit=10, only=only)
        return {row.by: row.figures.submitted for row in found}

    assert submitted(model="a") == {None: 2}
    assert submitted(by="caller", model="a") == {"me": 1, "you": 1}
    assert submitted(by="model", caller="me") == {"a": 1, "b": 1}
    assert submitted(model="b", caller="you") == submitted(model="nobody's") == {}


def test_what_was_done_costs_what_the_prices_say(open_store: Callable[[], Store]) -> None:
    store = open_store()
    used = Figures(prompt_tokens=100, cached_tokens=40, answer_tokens=10, busy_seconds=8.0)
    with store.transaction(T):
        store.add_usage({Slot(HOUR, int(T) // HOUR * HOUR, Group(name, "me", "t", "e")): used for name in "ab"}, [])

    def cost(by: str | None = None, **prices: Price) -> dict[str | None, float | None]:
        found = store.usage(step=HOUR, begin=0, end=DAY, by=by, limit=10, prices=prices)
        return {row.by: row.cost for row in found}

    price, other = Price(2.0, 1.0, 3.0, 0.5), Price(0.0, 0.0, 1.0, 0.0)
    assert cost() == {None: None}
    assert cost("model", a=price) == {"a": 194.0, "b": None}
    assert cost(a=price) == {None: 194.0}
    assert cost("model", **{"*": other}, a=price) == {"a": 194.0, "b": 10.0}
    assert cost("caller", **{"*": other}) == {"me": 20.0}
    assert cost("model", c=price) == {"a": None, "b": None}
