"""The queue actor: many messages, one transaction."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from foreman.domain.errors import Draining, JobNotFound, StoreAway, StoreBroken, StoreLost
from foreman.domain.job import Delivery, DeliveryState, State
from foreman.domain.retry import Sent
from foreman.queue.actor import ANSWERS_WITHIN, BATCH, MAY_BE, UNANSWERED, QueueActor
from foreman.queue.commands import Cancel, Claim, Commit, DeliveryEnded, Message, Note, Submit
from foreman.queue.handlers.dispatch import Answer, CommandHandlers, More
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.handlers.open_claims import Lend
from foreman.store.sqlite.writer import SqliteWriter
from tests.conftest import Logged
from tests.support.actors import draft, inline, now
from tests.support.queue import HangingHandlers
from tests.support.sites import only_site

T = TypeVar("T")


class CountingHandlers(CommandHandlers):
    """Remembers how large its batches were."""

    batches: list[int]

    def apply(
        self, batch: Sequence[Message[Any]], lend: Lend | None = None, more: More | None = None
    ) -> tuple[list[Answer], Commit]:
        self.batches = [*getattr(self, "batches", []), len(batch)]
        return super().apply(batch, lend, more)


@pytest.fixture
def handlers(store: SqliteWriter) -> CountingHandlers:
    return CountingHandlers(store, JobRules(), only_site(), clock=now)


async def test_an_answer_is_on_disk_when_it_comes(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    await nursery.start(queue.run)
    await queue.ask(Submit(draft=draft()))
    assert handlers.store.reader().job("001") is not None  # type: ignore[attr-defined]


async def test_what_is_asked_together_shares_a_transaction(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    await nursery.start(queue.run)
    async with trio.open_nursery() as askers:
        for n in range(BATCH + 44):
            askers.start_soon(queue.ask, Submit(draft=draft(n)))
    assert handlers.batches == [BATCH, 44]
    assert len(handlers.store.jobs(limit=999)) == BATCH + 44


async def test_a_message_that_fails_gets_its_error_and_the_others_succeed(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    await nursery.start(queue.run)
    refused: list[JobNotFound] = []

    async def cancel_nobody() -> None:
        try:
            await queue.ask(Cancel(job_id="nobody"))
        except JobNotFound as error:
            refused.append(error)

    async with trio.open_nursery() as askers:
        askers.start_soon(queue.ask, Submit(draft=draft(1)))
        askers.start_soon(cancel_nobody)
        askers.start_soon(queue.ask, Submit(draft=draft(2)))
    assert (handlers.batches, len(refused)) == ([3], 1)
    assert len(handlers.store.jobs(limit=9)) == 2


async def test_listeners_hear_of_a_commit_after_it_is_on_disk(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    heard: list[tuple[str, bool]] = []
    reader = handlers.store.reader()  # type: ignore[attr-defined]
    queue.add_listener(lambda commit: heard.extend((c.job_id, reader.job(c.job_id) is not None) for c in commit.events))
    await nursery.start(queue.run)
    await queue.ask(Submit(draft=draft()))
    await wait_all_tasks_blocked()
    assert heard == [("001", True)]


async def test_messages_of_one_sender_are_applied_in_order(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    await nursery.start(queue.run)
    for value in "abc":
        await queue.tell(Note(name="n", value=value))
    await queue.ask(Note(name="other", value=""))
    assert handlers.store.note("n") == "c"


async def test_closing_applies_all_that_was_told_and_takes_no_more(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    for n in range(5):
        await queue.tell(Submit(draft=draft(n)))
    await queue.close()
    await nursery.start(queue.run)
    await queue.wait_closed()
    assert len(handlers.store.jobs(limit=9)) == 5
    with pytest.raises(Draining):
        await queue.ask(Submit(draft=draft(9)))


async def test_an_asker_who_leaves_does_not_undo_what_was_asked(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    with trio.move_on_after(0):
        await queue.tell(Submit(draft=draft()))
        await trio.lowlevel.checkpoint()
    await nursery.start(queue.run)
    await wait_all_tasks_blocked()
    assert handlers.store.job("001") is not None


async def test_the_queue_wakes_by_itself_when_a_time_comes(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    expired = trio.Event()
    queue.add_listener(lambda c: expired.set() if any(x.state is State.EXPIRED for x in c.events) else None)
    await nursery.start(queue.run)
    await queue.ask(Submit(draft=draft(start_by=now() + 3600)))
    await expired.wait()
    assert trio.current_time() == pytest.approx(3600)


async def test_a_job_that_waits_for_its_time_is_woken_after_a_restart_too(
    handlers: CountingHandlers, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    handlers.apply([Submit(draft=draft(not_before=now() + 60))])
    handlers = CountingHandlers(handlers.store, JobRules(), only_site(), clock=now)
    queue = QueueActor(handlers, in_thread=inline)
    await nursery.start(queue.run)
    with trio.fail_after(61):
        assert await queue.ask(Claim()) is not None
    assert trio.current_time() == pytest.approx(60)


async def test_a_commit_that_has_begun_is_answered_although_the_actor_is_cancelled(
    handlers: CountingHandlers, autojump_clock: MockClock
) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slowly(function: Callable[..., T], /, *args: object) -> T:
        begun.set()
        await go_on.wait()
        return function(*args)

    queue = QueueActor(handlers, in_thread=slowly)
    message = Submit(draft=draft())
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run)
        await queue.tell(message)
        await begun.wait()
        nursery.cancel_scope.cancel()
        go_on.set()
    assert (await message.reply.wait()).job.id == "001"


async def test_a_broken_store_ends_the_actor(
    handlers: CountingHandlers, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise StoreBroken("the disk is gone")

    monkeypatch.setattr(handlers.store, "set_note", broken)
    queue = QueueActor(handlers, in_thread=inline)
    told = Note(name="n", value="")
    await queue.tell(told)
    with pytest.raises(StoreBroken):
        await queue.run()
    logged.claim("the database is lost: foreman stops")
    for asked in (told.reply.wait, partial(queue.ask, Submit(draft=draft()))):
        with trio.fail_after(1), pytest.raises(StoreLost):
            await asked()


async def test_while_a_server_does_not_answer_callers_are_told_what_may_be_stored(
    store: SqliteWriter, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteWriter, "looks_every", 10**6)  # as a store that is on a server
    autojump_clock.autojump_threshold = math.inf
    handlers = HangingHandlers(store)
    queue = QueueActor(handlers)
    await nursery.start(queue.run)
    told: dict[int, str] = {}

    async def submit(number: int) -> None:
        try:
            told[number] = (await queue.ask(Submit(draft=draft(number)))).job.id
        except StoreAway as error:
            told[number] = str(error)

    due = Delivery(seq=1, job_id="j", receiver="r", url="http://r", state=DeliveryState.DUE, attempts=0, due_at=0)
    delivery = DeliveryEnded(delivery=due, sent=Sent(status=204))
    async with trio.open_nursery() as callers:
        callers.start_soon(submit, 1)  # is in the batch
        assert await trio.to_thread.run_sync(handlers.begun.wait, 60)
        callers.start_soon(queue.ask, delivery)
        callers.start_soon(submit, 2)  # is not
        await wait_all_tasks_blocked()
        autojump_clock.jump(ANSWERS_WITHIN)
        await wait_all_tasks_blocked()
        why = f"the database cannot be reached: {UNANSWERED}"
        assert told == {1: f"{why}, and {MAY_BE}", 2: why}
        with pytest.raises(StoreAway) as refused:
            await queue.ask(Submit(draft=draft(3)))  # at once: the clock stands still
        assert MAY_BE not in str(refused.value) and refused.value.retry_after
        settled = [delivery.reply.settled]
        handlers.go_on.set()
    assert [*settled, delivery.reply.settled] == [False, True]
    await submit(4)
    assert told[4] == "004"
    assert sorted(job.id for job in store.jobs(limit=9)) == ["001", "004"]


async def test_a_claim_waits_for_a_job_for_longer_than_callers_wait_for_an_answer(
    store: SqliteWriter, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteWriter, "looks_every", 10**6)
    queue = QueueActor(CommandHandlers(store, JobRules(), only_site(), clock=now), in_thread=inline)
    await nursery.start(queue.run)
    with trio.move_on_after(10 * ANSWERS_WITHIN) as waited:
        await queue.ask(Claim())
    assert waited.cancelled_caught


async def test_a_listener_that_fails_ends_the_actor_and_not_the_process(
    handlers: CountingHandlers, autojump_clock: MockClock
) -> None:
    queue = QueueActor(handlers, in_thread=inline)
    failing = [True]

    def listener(commit: Commit) -> None:
        if failing.pop():
            raise LookupError("a bug")

    queue.add_listener(listener)
    message = Submit(draft=draft(1))
    await queue.tell(message)
    with pytest.raises(LookupError):
        await queue.run()
    assert (await message.reply.wait()).job.id == "001"
    async with trio.open_nursery() as nursery:
        failing.append(False)
        await nursery.start(queue.run)
        assert (await queue.ask(Submit(draft=draft(2)))).job.id == "002"
        nursery.cancel_scope.cancel()


async def test_the_real_queue_writes_in_a_thread_of_its_own(store: SqliteWriter, nursery: trio.Nursery) -> None:
    handlers = CountingHandlers(store, JobRules(), only_site(), clock=time.time)
    queue = QueueActor(handlers)
    await nursery.start(queue.run)
    async with trio.open_nursery() as askers:
        for n in range(50):
            askers.start_soon(queue.ask, Submit(draft=draft(n)))
    assert sum(handlers.batches) == 50
    assert len(handlers.batches) < 10
