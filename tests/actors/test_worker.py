"""The worker, against targets that do as a test tells them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.attempt import Timeouts
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import (
    Draining,
    IllegalTransition,
    Shortage,
    StoreBusy,
    StoreFull,
    TargetBusy,
    TargetFailed,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.domain.job import JobEvent, Priority, State
from foreman.domain.retry import Backoff
from foreman.domain.usage import HOUR
from foreman.queue import actor
from foreman.queue.commands import Cancel, Claim, Commit, Message, Rescue, Retry, Submit, Withdraw
from foreman.queue.handlers.job_rules import JobRules
from foreman.targets.protocol import Call
from tests.conftest import Logged
from tests.support.actors import START, App, FakeTarget, Script, chunk, draft, failing, saying, silent

Start = Callable[..., Awaitable[App]]


def text_of(app: App, number: int = 1) -> str:
    answer = app.store.content(f"{number:03}", "completion")
    assert answer is not None
    text: str = json.loads(answer)["message"]["content"]
    return text


async def test_a_job_is_loaded_worked_on_and_done(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("hel", "lo"))
    await app.submit(draft())
    job = await app.until_state(State.DONE)
    assert app.states() == ["queued", "loading", "working", "done"]
    assert (job.attempt, job.error, text_of(app)) == (1, None, "hello")
    assert app.target.loads == ["m"]


async def test_tokens_loads_and_time_of_the_slots_are_counted_with_the_jobs(
    start_app: Start, autojump_clock: MockClock
) -> None:
    async def counted(call: Call) -> AsyncIterator[Chunk]:
        await trio.sleep(7)
        yield Chunk(b'{"message":{"content":"x"},"done":true,"prompt_eval_count":11,"eval_count":3}', last=True)

    app = await start_app(target=FakeTarget([counted], load_seconds=5))
    await app.submit(draft(1), draft(2), draft(3, "a"))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in (1, 2, 3)))
    rows = app.store.usage(step=HOUR, begin=0, end=2 * 10**6, by="model", limit=9)
    told = [(r.by, r.figures.done, r.figures.loads, r.figures.prompt_tokens, r.figures.answer_tokens) for r in rows]
    assert told == [("a", 1, 1, 11, 3), ("m", 2, 1, 22, 6)]
    assert [row.figures.busy_seconds for row in rows] == [12, 19]


async def test_jobs_of_one_key_are_loaded_once_and_run_one_after_the_other(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("x", seconds=1))
    await app.submit(*(draft(n) for n in range(1, 6)))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in range(1, 6)))
    assert (app.target.loads, app.target.most_together) == (["m"], 1)
    assert app.target.answered == ["1", "2", "3", "4", "5"]


async def test_interleaved_keys_cost_one_load_each(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x", seconds=0.01))
    await app.submit(*(draft(n, "abc"[n % 3]) for n in range(60)))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in range(60)))
    assert sorted(app.target.loads) == ["a", "b", "c"]


async def test_a_high_job_for_another_model_runs_next(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x", seconds=1))
    await app.submit(*(draft(n, "a") for n in range(1, 5)))
    await app.until_state(State.WORKING)
    app.outlook.rules = replace(app.outlook.rules, give_way=False)
    await app.submit(draft(9, "b", priority=Priority.HIGH))
    await app.until_state(State.DONE, 4)
    assert app.target.answered == ["1", "9", "2", "3", "4"]


async def test_a_job_that_gives_way_is_stopped_and_starts_over(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x", seconds=10))
    await app.submit(draft(1, priority=Priority.LOW))
    await app.until_state(State.WORKING)
    await app.submit(draft(9, priority=Priority.HIGH))
    await app.until_state(State.DONE, 9)
    assert app.job(1).state is not State.DONE
    await app.until_state(State.DONE, 1)
    assert (app.target.answered, app.job(1).attempt, app.job(1).gave_way) == (["1", "9", "1"], 1, 1)


async def test_slots_run_jobs_of_one_key_together_and_never_of_two(start_app: Start, autojump_clock: MockClock) -> None:
    together: list[str] = []

    async def script(call):  # type: ignore[no-untyped-def]
        together.append(call.key)
        assert set(together) == {call.key}
        await trio.sleep(5)
        together.remove(call.key)
        async for piece in saying("x")(call):
            yield piece

    app = await start_app(script, slots=3)
    await app.submit(*(draft(n, "ab"[n % 2]) for n in range(10)))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in range(10)))
    assert app.target.most_together == 3
    assert app.target.loads == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "seconds"), [(silent(), 30), (silent("a word"), 12)], ids=["from the start", "in the middle"]
)
async def test_a_silent_target_costs_its_patience_and_no_more(
    start_app: Start, autojump_clock: MockClock, script: Script, seconds: float
) -> None:
    app = await start_app(script, timeout=Timeouts(first_chunk=30, stall=12))
    await app.submit(draft(max_attempts=1))
    job = await app.until_state(State.FAILED)
    assert (job.error_code, job.error) == ("target_silent", f"the target said nothing for {seconds:g} s")
    assert trio.current_time() == pytest.approx(seconds)
    assert app.target.left_early == 1


async def test_a_target_that_goes_on_talking_is_never_silent(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying(*"abcdef", seconds=10), timeout=Timeouts(first_chunk=11, stall=11))
    await app.submit(draft())
    assert (await app.until_state(State.DONE)).attempt == 1
    assert trio.current_time() == pytest.approx(60)


@pytest.mark.parametrize("words", [(), ("a word",)], ids=["before the first word", "after it"])
async def test_signs_of_life_are_no_silence(
    start_app: Start, autojump_clock: MockClock, words: tuple[str, ...]
) -> None:
    async def pinging(call: Call) -> AsyncIterator[Chunk]:
        for word in words:
            yield chunk(word)
        for _ in range(10):
            await trio.sleep(9)
            call.heard()
        yield chunk(last=True)

    app = await start_app(pinging, timeout=Timeouts(first_chunk=10, stall=10))
    await app.submit(draft())
    assert (await app.until_state(State.DONE)).attempt == 1
    assert trio.current_time() == pytest.approx(90)


async def test_an_attempt_that_ends_while_chunks_come_is_not_called_silent(
    start_app: Start, autojump_clock: MockClock
) -> None:
    async def talking(call: Call) -> AsyncIterator[Chunk]:
        await trio.sleep(19.95)  # the end of the silence that may follow lies just before that of the attempt
        for _ in range(1000):
            yield chunk("a word")
            await trio.sleep(0.05)

    app = await start_app(talking, timeout=Timeouts(attempt=30, first_chunk=25, stall=10))
    await app.submit(draft(max_attempts=1))
    job = await app.until_state(State.FAILED)
    assert job.error_code == "attempt_timeout"
    assert trio.current_time() == pytest.approx(30)


async def test_signs_of_life_do_not_prolong_an_attempt(start_app: Start, autojump_clock: MockClock) -> None:
    async def pinging(call: Call) -> AsyncIterator[Chunk]:
        for _ in range(1000):
            await trio.sleep(1)
            call.heard()
        yield chunk(last=True)

    app = await start_app(pinging)
    await app.submit(draft(timeout=7.0, max_attempts=1))
    assert (await app.until_state(State.FAILED)).error_code == "attempt_timeout"
    assert trio.current_time() == pytest.approx(7)


async def test_an_answer_that_was_cut_is_done_and_marked(start_app: Start, autojump_clock: MockClock) -> None:
    async def cut(call: Call) -> AsyncIterator[Chunk]:
        yield chunk("hel")
        yield chunk("lo")
        yield Chunk(b"", cut=True)

    app = await start_app(cut)
    await app.submit(draft())
    job = await app.until_state(State.DONE)
    assert (job.attempt, job.error_code, text_of(app)) == (1, "answer_cut", "hello")
    assert job.error == "the answer ended without its last mark"


async def test_an_attempt_has_its_time_however_much_it_talks(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying(*"abcdef" * 20, seconds=1))
    await app.submit(draft(timeout=7.0, max_attempts=1))
    job = await app.until_state(State.FAILED)
    assert job.error_code == "attempt_timeout"
    assert trio.current_time() == pytest.approx(7)


async def test_loading_counts_against_the_time_of_the_attempt(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(target=FakeTarget(load_seconds=1000))
    await app.submit(draft(timeout=5.0, max_attempts=1))
    assert (await app.until_state(State.FAILED)).error_code == "attempt_timeout"
    assert app.states() == ["queued", "loading", "failed"]


async def test_an_answer_may_only_be_so_large(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying(*["x" * 100] * 50), timeout=Timeouts(max_answer=2000))
    await app.submit(draft())
    job = await app.until_state(State.FAILED)
    assert (job.error_code, job.attempt) == ("answer_too_large", 1)


async def test_a_target_that_breaks_twice_is_done_on_attempt_three(start_app: Start, autojump_clock: MockClock) -> None:
    lost = TargetLost("the target", "reset")
    app = await start_app(failing(lost, "half"), failing(lost, "half"), saying("whole"))
    await app.submit(draft())
    job = await app.until_state(State.DONE)
    assert (job.attempt, job.error, text_of(app)) == (3, None, "whole")
    assert trio.current_time() == pytest.approx(2 + 4)


async def test_a_target_that_always_breaks_fails_the_job_with_its_last_words(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(*(failing(TargetFailed("the target", f"no {n}")) for n in (1, 2, 3)))
    await app.submit(draft())
    job = await app.until_state(State.FAILED)
    assert (job.attempt, job.error, job.error_code) == (3, "the target failed: no 3", "target_failed")


async def test_a_refused_request_fails_at_once_with_the_targets_words(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(failing(TargetRefused(400, "num_ctx must be positive")))
    await app.submit(draft())
    job = await app.until_state(State.FAILED)
    assert (job.attempt, job.error) == (1, "num_ctx must be positive")
    assert trio.current_time() == 0


async def test_a_busy_target_is_left_in_peace_for_as_long_as_it_asked(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(failing(TargetBusy("the target", 40)), saying("x"))
    await app.submit(draft(1), draft(2))
    await app.until(lambda: app.job(1).state is app.job(2).state is State.DONE)
    assert trio.current_time() == pytest.approx(40)
    assert (app.job(1).attempt, app.job(2).attempt) == (1, 1)
    assert app.inventory.up


async def test_a_busy_model_holds_only_itself_back(start_app: Start, autojump_clock: MockClock) -> None:
    """Its jobs wait unspent, and go on at the very moment that the server named."""
    calls: list[tuple[str, float]] = []

    async def script(call: Call) -> AsyncIterator[Chunk]:
        calls.append((call.key, trio.current_time()))
        if call.key == "a" and len(calls) < 3:
            raise TargetBusy("the target", 40.0)
        await trio.sleep(1)
        yield chunk("x", last=True)

    app = await start_app(script)
    await app.submit(draft(1, "a"), draft(2, "a"), draft(3, "b"), draft(4, "b"))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in (1, 2, 3, 4)))
    assert calls == [("a", 0.0), ("b", 0.0), ("b", 1.0), ("a", 40.0), ("a", 41.0)]
    assert [app.job(n).attempt for n in (1, 2, 3, 4)] == [1] * 4
    assert app.states(2) == ["queued", "loading", "working", "done"]


async def test_a_model_that_is_busy_for_ever_costs_the_others_nothing(
    start_app: Start, autojump_clock: MockClock
) -> None:
    asked = 0

    async def script(call: Call) -> AsyncIterator[Chunk]:
        nonlocal asked
        if call.key == "a":
            asked += 1
            raise TargetBusy("the target")
        await trio.sleep(1)
        yield chunk("x", last=True)

    app = await start_app(script, slots=2)
    await app.submit(*(draft(n, "a", priority=Priority.HIGH) for n in range(3)))
    await app.submit(*(draft(n, "b", priority=Priority.LOW) for n in range(10, 40)))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in range(10, 40)))
    assert trio.current_time() < 30
    assert asked > 5
    assert [(app.job(n).state, app.job(n).attempt) for n in range(3)] == [(State.QUEUED, 0)] * 3


async def test_work_waits_for_a_target_that_is_away_and_costs_no_attempt(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("x"))
    app.target.down = TargetUnavailable("the target", "connection refused")
    await app.submit(draft(1), draft(2))
    await app.until(lambda: "loading" in app.states() and app.job().state is State.QUEUED)
    await trio.sleep(100)
    assert [app.job(n).attempt for n in (1, 2)] == [0, 0]
    assert app.states() == ["queued", "loading", "queued"]
    assert not app.inventory.up
    app.target.down = None
    back = trio.current_time()
    await app.until(lambda: app.job(1).state is app.job(2).state is State.DONE)
    assert trio.current_time() - back <= 3
    assert app.job(1).attempt == 1


async def test_cancelling_closes_the_request_to_the_target_and_the_next_job_runs(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(silent("a word"), saying("x"))
    await app.submit(draft(1), draft(2))
    await app.until_state(State.WORKING)
    await trio.sleep(1)
    cancelled = await app.queue.ask(Cancel(job_id="001"))
    await app.until_state(State.DONE, 2)
    assert (cancelled.state, app.job(1).state) == (State.CANCELLED, State.CANCELLED)
    assert (app.target.left_early, trio.current_time()) == (1, 1)


async def test_a_job_that_is_cancelled_before_its_slot_hears_of_it_is_not_run(
    start_app: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "BATCH", 1)
    app = await start_app()
    await trio.testing.wait_all_tasks_blocked()  # its claim waits
    asked: list[Message[Any]] = [Submit(draft=draft(1)), Cancel(job_id="001"), Submit(draft=draft(2))]
    for message in asked[:-1]:
        await app.queue.tell(message)  # the commits are told of together, before the slot runs
    await app.queue.ask(asked[-1])
    await app.until_state(State.DONE, 2)
    assert app.states() == ["queued", "loading", "cancelled"]
    assert app.target.answered == ["2"]


async def test_a_claim_that_was_cancelled_is_not_run_although_its_job_is_retried(
    start_app: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "BATCH", 1)
    app = await start_app()
    await trio.testing.wait_all_tasks_blocked()  # its claim waits
    asked: list[Message[Any]] = [Submit(draft=draft()), Cancel(job_id="001"), Retry(job_id="001")]
    for message in asked[:-1]:
        await app.queue.tell(message)  # the commits are told of together, before the slot runs
    await app.queue.ask(asked[-1])
    await app.until_state(State.DONE)
    assert app.states() == ["queued", "loading", "cancelled", "queued", "loading", "working", "done"]
    assert app.target.answered == ["1"]


async def test_a_result_that_comes_after_the_cancel_is_dropped(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x", seconds=1))
    await app.submit(draft())
    await app.until_state(State.WORKING)
    await trio.sleep(1)  # the answer and the cancel are under way in the same moment
    with contextlib.suppress(IllegalTransition):
        await app.queue.ask(Cancel(job_id="001"))
    await trio.testing.wait_all_tasks_blocked()
    assert app.states()[-1] == app.job().state
    assert app.states().count("cancelled") + app.states().count("done") == 1


def prompt_of(characters: int) -> bytes:
    return b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * characters)


def tokens_of(app: App) -> list[tuple[str | None, int, int]]:
    rows = app.store.usage(step=HOUR, begin=0, end=2 * 10**6, by="caller", limit=9)
    return [(row.by, row.figures.prompt_tokens, row.figures.answer_tokens) for row in rows]


async def test_hanging_up_costs_what_was_answered_so_far(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(silent("a", "b", "c"))
    await app.submit(draft(1, payload=prompt_of(40), owner="alice"))
    await app.until_state(State.WORKING)
    await trio.sleep(1)
    await app.queue.ask(Cancel(job_id="001"))
    await trio.testing.wait_all_tasks_blocked()
    assert tokens_of(app) == [("alice", 10, 3)]


async def test_so_does_an_answer_for_which_the_job_leaves_too_little_time(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("a", "b", "c", seconds=2))
    await app.submit(draft(1, payload=prompt_of(40), owner="alice", timeout=5, max_attempts=1))
    await app.until_state(State.FAILED)
    assert tokens_of(app) == [("alice", 10, 2)]


async def test_what_broke_off_for_another_reason_costs_its_caller_nothing(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(failing(TargetLost("t", "x"), "a", "b"), silent("a"), silent("a"), silent())
    await app.submit(draft(1, payload=prompt_of(40), owner="alice"))
    await app.until(lambda: len(app.target.answered) == 2)
    await trio.sleep(1)
    again = JobEvent(seq=99, job_id="001", state=State.QUEUED, previous=State.WORKING, at=START, model="m", attempt=1)
    app.worker.on_commit(Commit([], others=[again]))  # another node has it
    await trio.testing.wait_all_tasks_blocked()
    assert app.worker.running == 0
    assert tokens_of(app) == [("alice", 0, 0)]


async def test_draining_claims_nothing_more_and_lets_the_running_ones_end(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("x", seconds=10), slots=2)
    await app.submit(*(draft(n) for n in range(1, 5)))
    with trio.fail_after(5):
        while app.worker.running < app.worker.slots:  # noqa: ASYNC110  a claim that its slot has not seen yet would be put back
            await trio.sleep(0.001)  # of virtual time
    await app.worker.drain(30)
    await app.until(lambda: app.job(1).state is app.job(2).state is State.DONE)
    assert trio.current_time() == pytest.approx(10)
    assert [(app.job(n).state, app.job(n).attempt) for n in (3, 4)] == [(State.QUEUED, 0)] * 2


async def test_draining_puts_back_what_does_not_end_in_time_unspent(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("x", seconds=100), slots=4)
    await app.submit(*(draft(n) for n in range(1, 7)))
    await app.until(lambda: all(app.job(n).state is State.WORKING for n in range(1, 5)))
    await app.worker.drain(5)
    assert trio.current_time() == pytest.approx(5)
    await app.queue.close()
    await app.queue.wait_closed()
    assert [(app.job(n).state, app.job(n).attempt) for n in range(1, 7)] == [(State.QUEUED, 0)] * 6
    assert app.target.together == 0


@pytest.mark.parametrize("turns", range(12))
async def test_a_job_claimed_while_the_drain_begins_is_put_back_before_the_queue_closes(
    start_app: Start, turns: int, autojump_clock: MockClock
) -> None:
    app = await start_app(silent())
    app.nursery.start_soon(submit_or_be_refused, app)
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    await app.worker.drain(0)
    await app.queue.close()
    await app.queue.wait_closed()
    found = app.store.job("001")
    assert found is None or (found.state, found.attempt) == (State.QUEUED, 0)


async def submit_or_be_refused(app: App) -> None:
    with contextlib.suppress(Draining):
        await app.submit(draft())


async def test_an_idle_worker_drains_at_once(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(slots=3)
    await app.worker.drain(30)
    assert trio.current_time() == 0


@pytest.mark.parametrize("error", [StoreFull(), StoreBusy("locked")])
async def test_an_idle_worker_drains_while_nothing_can_be_stored(
    start_app: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app = await start_app()
    await trio.sleep(1)
    stores = app.store.transaction

    @contextlib.contextmanager
    def fails(now: float) -> Iterator[float]:
        with stores(now):
            yield now
            raise error

    with monkeypatch.context() as broken, trio.fail_after(1):
        broken.setattr(app.store, "transaction", fails)
        await app.worker.drain(30)


async def held(app: App) -> None:
    await app.worker.stop_claiming()
    await app.submit(draft())


async def away(app: App) -> None:
    app.target.down = TargetUnavailable("the target", "connection refused")
    app.inventory.report_down(app.target.down)
    await app.submit(draft())


async def without_room_on_disk(app: App) -> None:
    tell = app.queue.tell

    async def full(message: Any) -> None:
        if isinstance(message, Claim):
            raise StoreFull
        await tell(message)

    app.queue.tell = full  # type: ignore[method-assign]
    await app.queue.ask(Withdraw(target=""))
    await app.submit(draft())


async def short_of_descriptors(app: App) -> None:
    app.target.scripts = [failing(Shortage("descriptors"))]
    await app.submit(draft())
    await app.until(lambda: app.states() == ["queued", "loading", "working", "queued"])


@pytest.mark.parametrize("hinder", [held, away, without_room_on_disk, short_of_descriptors])
async def test_a_worker_that_waits_for_something_drains_at_once(
    start_app: Start, hinder: Callable[[App], Awaitable[None]], autojump_clock: MockClock
) -> None:
    app = await start_app()
    await hinder(app)
    await trio.sleep(1)
    assert (app.job().state, app.job().attempt) == (State.QUEUED, 0)
    before = trio.current_time()
    await app.worker.drain(30)
    assert trio.current_time() == before


async def test_a_worker_takes_back_what_its_predecessor_left_running(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(silent(), saying("x"), rules=JobRules(backoff=Backoff(2, 300)))
    await app.submit(draft())
    await app.until_state(State.WORKING)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.worker.run)
        job = await app.until_state(State.DONE)
        nursery.cancel_scope.cancel()
    assert (job.attempt, app.states().count("queued")) == (2, 2)


async def test_a_bug_met_in_one_attempt_fails_that_job_alone(
    start_app: Callable[..., Awaitable[App]], autojump_clock: MockClock, logged: Logged
) -> None:
    async def buggy(call: Call) -> AsyncIterator[Chunk]:
        yield chunk("a")
        raise ZeroDivisionError

    app = await start_app(buggy, saying("b"))
    await app.submit(draft(1), draft(2))
    failed = await app.until_state(State.FAILED, 1)
    assert (failed.error, failed.error_code, failed.attempt) == ("internal error", "internal_error", 1)
    assert (await app.until_state(State.DONE, 2)).attempt == 1
    logged.claim("attempt failed by a bug")


async def test_a_flood_of_tiny_chunks_ends_and_lets_others_in_between(
    start_app: Callable[..., Awaitable[App]], autojump_clock: MockClock
) -> None:
    async def flood(call: Call) -> AsyncIterator[Chunk]:
        while True:
            yield chunk()  # never waits

    app = await start_app(flood, timeout=Timeouts(max_answer=2_000_000))
    await app.submit(draft(max_attempts=1))
    turns = 0
    while app.job().state is not State.FAILED:
        turns += 1
        await trio.lowlevel.checkpoint()
    assert app.job().error_code == "answer_too_large" and turns > 100


async def test_a_busy_target_may_have_time_for_others(
    start_app: Callable[..., Awaitable[App]], autojump_clock: MockClock
) -> None:
    async def busy(call: Call) -> AsyncIterator[Chunk]:
        await trio.sleep(1)
        for words in list[str]():
            yield chunk(words)
        raise TargetBusy("t", 0.0)

    app = await start_app(busy, saying("b"), saying("a"))
    await app.submit(draft(1), draft(2))
    await app.until_state(State.DONE, 1)
    assert app.target.answered == ["1", "2", "1"]


async def test_a_worker_that_finds_the_disk_full_takes_back_later(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app()
    refusals, ask = [StoreFull(), StoreFull()], app.queue.ask

    async def full(message: Any) -> Any:
        if isinstance(message, Rescue) and refusals:
            raise refusals.pop()
        return await ask(message)

    app.queue.ask = full  # type: ignore[method-assign]
    await app.nursery.start(app.worker.run)
    assert (refusals, trio.current_time()) == ([], 2 * StoreFull.retry_after)


async def test_a_job_that_is_cancelled_and_claimed_again_in_one_transaction_is_run(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(silent(), saying("x"), slots=2)
    await app.submit(draft())
    await app.until_state(State.WORKING)
    await app.queue.tell(Cancel(job_id="001"))
    await app.queue.ask(Retry(job_id="001"))  # the other slot's claim gets the job, in the same transaction
    await app.until_state(State.DONE)
    at_once = ["cancelled", "queued", "loading", "working"]
    assert at_once in [[event.state.value for event in commit.events] for commit in app.commits]
    assert app.states() == ["queued", "loading", "working", *at_once, "done"]
    assert (app.target.answered, app.target.left_early, app.job().attempt) == (["1", "1"], 1, 1)
