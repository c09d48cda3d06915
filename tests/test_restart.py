"""Limits of restarts, and who held the loop."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman.domain.errors import Draining, StoreBroken
from foreman.restart import ActorReturned, OutOfRestarts, RestartLimit, keep_running
from foreman.watchdog import Watchdog
from tests.conftest import Logged
from tests.support.foreman import HOLDS, Child, held_the_loop

STEADY = RestartLimit(most=5, window=60, first=1, longest=60)


class Actor:
    """Starts, lives `seconds`, then does what its script says; the last entry again and again."""

    def __init__(self, *script: Exception | None, seconds: float = 0, refuses: bool = False) -> None:
        self.starts: list[float] = []
        self._script = list(script)
        self._seconds = seconds
        self._refuses = refuses

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.starts.append(trio.current_time())
        if not self._refuses:
            task_status.started()
        await trio.sleep(self._seconds)
        what = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if what is not None:
            raise what


@pytest.fixture
def _even_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)


async def supervise(actor: Actor, *, leaving: Callable[[], bool] = lambda: False) -> None:
    async with trio.open_nursery() as nursery:

        async def supervised(*, task_status: trio.TaskStatus[None]) -> None:
            await keep_running("actor", actor.run, leaving=leaving, limit=STEADY, task_status=task_status)

        await nursery.start(supervised)


def only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    [error] = group.exceptions
    return only(error) if isinstance(error, BaseExceptionGroup) else error


@pytest.mark.usefixtures("_even_pauses")
async def test_an_actor_that_fails_starts_again_after_doubling_pauses_until_its_limit_is_reached(
    autojump_clock: MockClock, logged: Logged
) -> None:
    actor = Actor(ValueError("bug"))
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervise(actor)
    assert isinstance(only(caught.value), OutOfRestarts)
    assert actor.starts == pytest.approx([0, 1, 3, 7, 15, 31])
    assert len(logged.claim("actor failed")) == 6


@pytest.mark.usefixtures("_even_pauses")
async def test_an_actor_that_works_for_a_while_may_fail_as_often_again(
    autojump_clock: MockClock, logged: Logged
) -> None:
    actor = Actor(ValueError("bug"), seconds=61)
    with trio.move_on_after(61 * 20):
        await supervise(actor)
    assert len(actor.starts) > 15
    pauses = [after - before - 61 for before, after in zip(actor.starts, actor.starts[1:], strict=False)]
    assert pauses == pytest.approx([1] * len(pauses))
    logged.claim("actor failed")


async def test_an_actor_that_returns_unasked_has_failed(autojump_clock: MockClock, logged: Logged) -> None:
    actor = Actor(None)
    with pytest.raises(BaseExceptionGroup):
        await supervise(actor)
    assert repr(ActorReturned("actor returned")) in {line["error"] for line in logged.claim("actor failed")}


async def test_an_actor_that_was_asked_to_leave_may_return(autojump_clock: MockClock) -> None:
    actor = Actor(None, seconds=5)
    await supervise(actor, leaving=lambda: True)
    assert (len(actor.starts), trio.current_time()) == (1, 5)


async def test_a_broken_store_is_not_tried_again(autojump_clock: MockClock) -> None:
    actor = Actor(StoreBroken("the disk is gone"), seconds=1)
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervise(actor)
    assert isinstance(only(caught.value), StoreBroken)
    assert len(actor.starts) == 1


async def test_an_actor_that_never_started_is_a_refusal_to_start(autojump_clock: MockClock) -> None:
    actor = Actor(ValueError("cannot start"), refuses=True)
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervise(actor)
    assert repr(only(caught.value)) == "ValueError('cannot start')"
    assert len(actor.starts) == 1


@pytest.fixture
async def watchdog() -> Watchdog:
    """A strict one, at work until the end of the test."""
    watchdog = Watchdog(limit=0.02)
    watchdog.install()
    return watchdog


def _spin(watchdog: Watchdog) -> None:
    timeout = time.monotonic() + 10
    while not watchdog.held and time.monotonic() < timeout:
        pass


def _keep_the_interpreter(watchdog: Watchdog) -> None:
    """One call of C after the other, none of which lets another thread run meanwhile."""
    for _ in range(100):
        if not watchdog.held:
            sum(range(10_000_000))


@pytest.mark.holds_the_loop
@pytest.mark.parametrize("work", [_spin, _keep_the_interpreter])
async def test_the_watchdog_names_the_task_that_held_the_loop(
    watchdog: Watchdog, work: Callable[[Watchdog], None], logged: Logged
) -> None:
    async def greedy() -> None:
        work(watchdog)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(greedy)
    [line] = [line for line in logged.events("a task held the loop") if "greedy" in line["task"]]
    assert line["seconds"] >= 0.02 and line["cpu_seconds"] >= 0.02
    assert work.__name__ in line["where"]
    assert watchdog.longest >= 0.02


@pytest.mark.holds_the_loop
async def test_the_watchdog_tells_of_a_thread_that_kept_the_interpreter_for_itself(
    watchdog: Watchdog, logged: Logged
) -> None:
    await trio.to_thread.run_sync(_keep_the_interpreter, watchdog)
    line = logged.events("a thread held the loop")[0]
    assert line["seconds"] >= 0.02 and line["cpu_seconds"] >= 0.02
    assert any("_keep_the_interpreter" in frame for frame in line["where"])


async def test_the_watchdog_tells_a_call_that_waits_from_one_that_works(watchdog: Watchdog, logged: Logged) -> None:
    async def blocked() -> None:
        while not watchdog.held:
            time.sleep(0.2)  # noqa: ASYNC251  the mistake that is meant

    async with trio.open_nursery() as nursery:
        nursery.start_soon(blocked)
    line = logged.events("a task held the loop")[-1]
    assert line["seconds"] >= 0.02 > line["cpu_seconds"]


def test_a_daemon_whose_loop_was_held_fails_the_test_that_talks_to_it() -> None:
    slow = {"event": "a task held the loop", "task": "foreman.actors", "where": "msgspec", "seconds": 0.2}
    lines = [json.dumps(slow | {"cpu_seconds": cpu}) for cpu in (0.15, 0.05)]
    child = Child([sys.executable, "-c", f"print({chr(10).join(lines)!r})"], env=os.environ, stream="stdout")
    child.wait()
    child.close()
    assert [line["cpu_seconds"] for line in HOLDS] == [0.15], "the second had no core"
    HOLDS.clear()


def test_what_the_test_itself_does_in_the_loop_is_not_held_against_foreman() -> None:
    line: dict[str, Any] = {"event": "a task held the loop", "cpu_seconds": 0.2, "where": "json.dumps:1"}
    assert not held_the_loop(line | {"task": "tests.http.compat"})
    assert held_the_loop(line | {"task": "tests.http.compat", "where": "foreman.wire.read:1"})
    thread = {"event": "a thread held the loop", "cpu_seconds": 0.2}
    assert not held_the_loop(thread | {"where": ["tests.support.foreman.until:1", "trio._threads.worker_fn:1"]})
    assert held_the_loop(thread | {"where": ["trio._threads.worker_fn:1"]})


async def test_the_watchdog_says_nothing_of_tasks_that_wait(logged: Logged) -> None:
    watchdog = Watchdog(limit=5)
    watchdog.install()
    await trio.sleep(0.01)
    assert (watchdog.held, logged.events("a task held the loop")) == (0, [])


async def test_each_start_is_told_and_each_failure(autojump_clock: MockClock, logged: Logged) -> None:
    told: list[str] = []
    actor = Actor(ValueError("bug"), seconds=1)
    with trio.move_on_after(10):
        await keep_running(
            "actor",
            actor.run,
            leaving=lambda: False,
            serves=lambda name: told.append(f"{name} serves"),
            restarted=lambda name: told.append(f"{name} failed"),
        )
    assert told[:3] == ["actor serves", "actor failed", "actor serves"]
    logged.claim("actor failed")


async def test_a_queue_that_closes_is_no_fault_of_an_actor_that_is_cancelled_at_once() -> None:
    async def refused() -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            raise Draining

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started()
            nursery.start_soon(refused)
            await trio.sleep_forever()

    with trio.CancelScope() as leaving:
        leaving.cancel()
        await keep_running("it", run, leaving=lambda: True)
    assert leaving.cancelled_caught
