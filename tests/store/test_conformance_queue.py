"""What every storage engine must do: who waits, in which lane, and for how long."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from foreman.domain.job import NOBODY, CallerKey, Job, Priority, State
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.choose import Head, OrderRules
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.domain.scheduling.sequence import Waiting
from foreman.domain.scheduling.turns import Turn
from foreman.queue import outlook as outlook_module
from foreman.queue.board import Board
from foreman.store.records import Line, Selection
from tests.store.conftest import Store, add, claimed, done, draft, put
from tests.support.queue import ledger_of, writing
from tests.support.sites import only_site

RULES = OrderRules(limit=100, share=0.1)
QUEUED = Selection(states=(State.QUEUED,))


def line(key: str = "m", priority: Priority = Priority.NORMAL, *, ready: int = 0, parked: int = 0) -> Line:
    return Line(key=key, priority=priority, ready=ready, parked=parked)


def counted(store: Store) -> list[Line]:
    """The lines as the jobs themselves tell."""
    found: dict[tuple[str, Priority, CallerKey], list[int]] = {}
    for job in store.jobs(QUEUED, limit=1000):
        found.setdefault((job.key, job.priority, job.caller_key), [0, 0])[job.ready_at is not None] += 1
    return sorted(
        (
            Line(key=key, priority=priority, caller=caller, ready=ready, parked=parked)
            for (key, priority, caller), (ready, parked) in found.items()
        ),
        key=repr,
    )


def heads(store: Store) -> dict[tuple[str, int], tuple[str, int]]:
    """The oldest job of each lane, and how many it has, as the jobs themselves tell."""
    found: dict[tuple[str, int], list[Job]] = {}
    for job in store.jobs(QUEUED, limit=1000):
        if job.ready_at is None:
            found.setdefault((job.key, int(job.priority)), []).append(job)
    return {lane: (min(jobs, key=lambda job: (job.since, job.id)).id, len(jobs)) for lane, jobs in found.items()}


def board_of(store: Store) -> Board:
    return ledger_of(store).outlook.board


def on_board(store: Store) -> dict[tuple[str, int], tuple[str, int]]:
    board = board_of(store)
    assert board.waiting == sum(lane.ready + lane.parked for lane in store.lines())
    assert board.keys == len({lane.key for lane in store.lines()})
    assert sorted(board.all_lines(), key=repr) == sorted(store.lines(), key=repr)
    return {(head.key, head.priority): (head.id, board.size(head.key, head.priority)) for head in board.heads()}


def test_lines_count_the_waiting(store: Store) -> None:
    add(store, draft(1), draft(2), draft(3, model="b"), draft(4, priority=Priority.HIGH), draft(5, not_before=500.0))
    assert sorted(store.lines(), key=repr) == sorted(
        [line(ready=2, parked=1), line("b", ready=1), line("m", Priority.HIGH, ready=1)], key=repr
    )


def test_spellings_of_one_model_share_a_lane(store: Store) -> None:
    add(store, draft(1, model="m", key="m:latest"), draft(2, model="m:latest", key="m:latest"))
    add(store, draft(3, model="M", key="m:latest", not_before=500.0))
    assert store.lines() == [line("m:latest", ready=2, parked=1)]
    assert [head.id for head in board_of(store).heads()] == ["001"]


def test_an_empty_lane_goes_away(store: Store) -> None:
    [job] = add(store, draft(1))
    running = claimed(store, job)
    assert store.lines() == []
    put(store, running, state=State.QUEUED, ready_at=150.0)
    assert store.lines() == [line(parked=1)]


def test_lines_are_exact_inside_the_transaction_that_changes_them(store: Store) -> None:
    with writing(store) as ledger:
        ledger.add([draft(1)])
        assert board_of(store).all_lines() == [line(ready=1)]
        assert [head.id for head in board_of(store).heads()] == ["001"]
        ledger.add([draft(2)])
        assert board_of(store).all_lines() == [line(ready=2)]
    assert store.lines() == [line(ready=2)]


def test_heads_are_the_oldest_claimable_of_every_lane(store: Store) -> None:
    add(store, draft(3), now=90)
    jobs = add(store, draft(1), draft(2, model="b"), draft(4, model="b", priority=Priority.LOW), draft(5, model="c"))
    claimed(store, jobs[-1])
    add(store, draft(6, model="d", not_before=500.0))
    assert sorted(board_of(store).heads(), key=lambda head: head.id) == [
        Head("b", 1, 100.0, "002"),
        Head("m", 1, 90.0, "003"),
        Head("b", 2, 100.0, "004"),
    ]


def test_a_parked_job_is_woken_when_its_time_comes(store: Store) -> None:
    add(store, draft(1, not_before=500.0), draft(2, not_before=600.0), draft(3, not_before=50.0))
    assert [head.id for head in board_of(store).heads()] == ["003"]
    assert store.next_due() == 500
    assert wake(store, 499.9) == []
    assert [head.id for head in wake(store, 500)] == ["001"]
    woken = store.job("001")
    assert woken is not None
    assert (woken.ready_at, woken.since) == (None, 500)
    assert store.lines() == [line(ready=2, parked=1)]
    assert store.next_due() == 600


def test_the_scheduled_are_those_whose_time_is_to_come_the_soonest_first(store: Store) -> None:
    jobs = add(store, draft(1, not_before=600.0), draft(2), draft(3, not_before=500.0), draft(4, not_before=700.0))
    put(store, jobs[3], state=State.CANCELLED)
    assert [job.id for job in store.scheduled(9)] == ["003", "001"]
    assert [job.id for job in store.scheduled(1)] == ["003"]


def test_the_overdue_are_those_whose_start_by_has_passed(store: Store) -> None:
    jobs = add(store, draft(1, start_by=300.0), draft(2, start_by=200.0), draft(3), draft(4, start_by=150.0))
    claimed(store, jobs[3])
    assert store.next_due() == 200
    assert [job.id for job in store.overdue(199, 9) if isinstance(job, Job)] == []
    assert [job.id for job in store.overdue(300, 9) if isinstance(job, Job)] == ["002", "001"]
    assert [job.id for job in store.overdue(300, 1) if isinstance(job, Job)] == ["002"]


def test_the_next_due_is_the_sooner_of_waking_and_expiring(store: Store) -> None:
    add(store, draft(1, not_before=400.0), draft(2, start_by=300.0))
    assert store.next_due() == 300
    add(store, draft(3, not_before=250.0, start_by=900.0))
    assert store.next_due() == 250


def wake(store: Store, now: float) -> list[Head]:
    with writing(store, now) as ledger:
        woken = store.wake(now)
        ledger.outlook.board.woke(woken)
    return woken


OWNERS = ("", "alice", "bob")

steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "park", "claim", "requeue", "cancel", "wake", "finish", "lose"]),
        st.sampled_from("ab"),
        st.sampled_from(list(Priority)),
    ),
    max_size=25,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_lines_stay_exact_whatever_happens(store: Store, steps: list[tuple[str, str, Priority]]) -> None:
    empty(store)
    for n, (verb, model, priority) in enumerate(steps):
        waiting = store.jobs(QUEUED, limit=99)
        running = store.running()
        if verb in ("add", "park"):
            later = 200.0 + n if verb == "park" else None
            add(store, draft(n, model=model, priority=priority, not_before=later, owner=OWNERS[n % 3], caller=model))
        elif verb == "claim" and waiting:
            claimed(store, waiting[0])
        elif verb == "requeue" and running:
            put(store, running[0], state=State.QUEUED, ready_at=150.0 if n % 2 else None)
        elif verb == "cancel" and waiting:
            put(store, waiting[-1], state=State.CANCELLED)
        elif verb == "finish" and running:
            put(store, running[0], state=State.FAILED)
        elif verb == "wake":
            wake(store, 200.0 + n / 2)
        elif verb == "lose":
            with suppress(RuntimeError), writing(store) as ledger:
                ledger.add([draft(n, model=model, priority=priority)])
                for job in waiting[:1]:
                    ledger.put(replace(job, state=State.CANCELLED), job)
                if n % 2:
                    ledger.refreshed()
                raise RuntimeError
        assert on_board(store) == heads(store)
        assert sorted(store.lines(), key=repr) == counted(store)


def empty(store: Store) -> None:
    for job in store.jobs(QUEUED, limit=999):
        put(store, job, state=State.CANCELLED)
    with store.transaction():
        store.delete([job.id for job in store.jobs(limit=999)])


waits = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(list(Priority)), st.integers(0, 350)), min_size=1, max_size=12
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waits, st.none() | st.sampled_from("abcdef"), st.sampled_from([1, 2, 10]))
def test_positions_are_the_order_in_which_the_jobs_would_be_taken(
    store: Store, waiting: list[tuple[str, Priority, int]], at_work: str | None, near: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlook_module, "NEAR", near)
        check_positions(store, waiting, at_work)


def check_positions(store: Store, waiting: list[tuple[str, Priority, int]], at_work: str | None) -> None:
    empty(store)
    now = 1000.0
    for n, (model, priority, age) in enumerate(waiting):
        add(store, draft(n, model=model, priority=priority), now=now - age % 90)
    outlook = only_site(RULES)
    outlook.board = board_of(store)
    outlook.states = {"": SchedulerState(choose.Standing((Turn(at_work, now),) if at_work else ()))}
    places = {job.id: outlook.of(store, job, now).position for job in store.jobs(QUEUED, limit=99)}
    line = [(job.id, expected.position) for job, expected in outlook.line(store, now, most=99)]
    assert line == sorted(places.items(), key=lambda job: job[1] or 0)
    assert [job.id for job, _ in outlook.line(store, now, most=3)] == [job_id for job_id, _ in line[:3]]
    for place in range(1, len(waiting) + 1):
        choice = choose.choose(board_of(store).heads(), outlook.state_of().standing, running={}, now=now, rules=RULES)
        assert choice is not None
        assert places[choice.head.id] == place
        outlook.states = {
            "": outlook.state_of().with_standing(
                choose.start(outlook.state_of().standing, choice, now, limit=RULES.limit)
            )
        }
        job = store.job(choice.head.id)
        assert job is not None
        done(store, job)


def test_a_lane_is_read_in_its_order_and_from_any_place_on(store: Store) -> None:
    add(store, *(draft(n) for n in range(20)), draft("other", priority=Priority.LOW), draft("else", model="b"))
    [last] = add(store, draft(20))
    assert [store.rank(last, most=most) for most in (5, 1000)] == [5, 20]
    assert [job.id for job in store.line("m", Priority.NORMAL, NOBODY, skip=18, limit=9)] == ["018", "019", "020"]
    assert [job.id for job in store.line("m", Priority.NORMAL, NOBODY, skip=2, limit=1)] == ["002"]


prefixes = st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 3)), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prefixes, st.binary(min_size=1, max_size=2))
def test_neighbours_are_next_in_the_order_of_prefixes(
    store: Store, waiting: list[tuple[bytes, int]], path: bytes
) -> None:
    empty(store)
    for n, (prefix, age) in enumerate(waiting):
        add(store, draft(n, prefix=prefix, caller="me"), now=100 - age)
    add(store, draft("other", prefix=path), draft("later", prefix=path, caller="me", not_before=999.0))
    known = [(prefix, 100.0 - age, f"{n:03}") for n, (prefix, age) in enumerate(waiting) if prefix]
    beside = [max((one[0] for one in known if one[0] <= path), default=None)]
    beside.append(min((one[0] for one in known if one[0] > path), default=None))
    oldest = [min(one for one in known if one[0] == prefix) for prefix in beside if prefix]
    found = store.neighbours("m", Priority.NORMAL, ("", "me"), path)
    assert [(one.path, one.since, one.id) for one in found] == oldest


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prefixes, st.binary(min_size=1, max_size=2), st.integers(0, 9))
def test_waiting_jobs_are_read_by_age_and_by_what_their_prompts_begin_with(
    store: Store, waiting: list[tuple[bytes, int]], first: bytes, limit: int
) -> None:
    empty(store)
    for n, (prefix, age) in enumerate(waiting):
        add(store, draft(n, prefix=prefix, caller="me", most_tokens=n or None), now=100 - age)
    add(store, draft("other", prefix=first), draft("later", prefix=first, caller="me", not_before=999.0))
    line = "m", Priority.NORMAL, ("", "me")
    known = [Waiting(100.0 - age, f"{n:03}", prefix, n or None) for n, (prefix, age) in enumerate(waiting)]
    assert store.waiting(*line, limit=limit) == sorted(known)[:limit]
    alike = sorted((one.path, one) for one in known if one.path.startswith(first))
    assert store.alike(*line, first, limit=limit) == [one for _, one in alike][:limit]


def test_a_line_has_the_jobs_of_one_caller(store: Store) -> None:
    mine = add(store, draft(1, owner="alice"), draft(2, owner="alice", caller="x"), draft(3, owner="bob", caller="x"))
    for job in mine:
        assert store.line("m", Priority.NORMAL, job.caller_key, skip=0, limit=9) == [job]
        assert [head.id for head in store.heads("m", Priority.NORMAL, job.caller_key, limit=9)] == [job.id]
        assert store.rank(job, most=9) == 0
    found = [[job.id for job in store.jobs(Selection(caller=name), limit=9)] for name in ("alice", "x", "bob")]
    assert found == [["002", "001"], ["003", "002"], ["003"]]
