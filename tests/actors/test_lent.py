"""Work that is lent: a new job's request leaves while the commit of the job is under way."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import cast

import pytest
import trio

from foreman.actors.output import OutputReader
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import ForemanError, JobNotFound, StoreFull, TargetFailed
from foreman.domain.job import Instant, State
from foreman.queue import actor as queue_actor
from foreman.queue.commands import Accepted, Cancel, Message, Submit
from foreman.queue.handlers import quick_jobs
from foreman.store.sqlite.reads import SqliteReader
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.protocol import Call
from tests.support.actors import App, FakeTarget, Script, draft, failing, saying, silent
from tests.support.queue import learn

Start = Callable[..., Awaitable[App]]
LONGEST = 10.0  # seconds that any wait of these tests may take


class Disk:
    """A disk whose commits end when a test says so, well or not; all else is done by then."""

    def __init__(self, store: SqliteWriter) -> None:
        self._transaction = store.transaction
        self._go_on = threading.Event()
        self._go_on.set()
        self.errors: list[Exception] = []  # of the next commits
        store.transaction = self._slowly  # type: ignore[method-assign]

    def stop(self) -> None:
        self._go_on.clear()

    def go_on(self, *errors: Exception) -> None:
        """Let commits end, the first ones with these errors."""
        self.errors += errors
        self._go_on.set()

    @contextmanager
    def _slowly(self, now: Instant = 0.0) -> Iterator[Instant]:
        with self._transaction(now):
            yield now
            assert self._go_on.wait(LONGEST)
            if self.errors:
                raise self.errors.pop(0)


class Lent:
    """The actors with an idle slot, and a job that its target has while the commit of it is under way."""

    def __init__(self, app: App, disk: Disk, reader: SqliteReader, *, held: bool) -> None:
        self.app = app
        self.disk = disk
        self.reader = reader  # sees what is on disk
        self.asked = trio.Event()
        self.submitted: Message[Accepted] = Submit(draft=draft(), patient=held)
        if held:
            learn(app.outlook, "m", seconds=0.001)
        # The chunks of a held job are there at once: nobody can ask for those of a job that is not on disk.
        self.follower: OutputReader = app.hub.output("another" if held else "001").follow()

    async def begin(self, *more: Message[Accepted]) -> None:
        """Send the job, with others in its transaction, and return once the target has the request."""
        self.disk.stop()
        for message in (self.submitted, *more):
            await self.app.queue.tell(message)
        await self.asked.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not self.known()

    def states(self, number: int = 1) -> list[str]:
        return [event.state.value for event in self.reader.events(job_id=f"{number:03}", limit=9)]

    async def until_done(self, number: int = 1) -> None:
        with trio.fail_after(LONGEST):
            await self.app.until(lambda: self.states(number)[-1:] == ["done"])

    def known(self) -> bool:
        """Return True if anything of the job is on disk, was answered, told to listeners, or shown to readers."""
        told = any(event.job_id == "001" for commit in self.app.commits for event in commit.events)
        return bool(self.reader.job("001") or self.submitted.reply.outcome or told or self.follower.next_nowait())


@pytest.fixture
async def lend(
    start_app: Start, store: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[Lent]]:
    async def start(*scripts: Script, slots: int = 1, held: bool = False) -> Lent:
        target = FakeTarget([*scripts, saying("hello")], in_memory_now="m")
        app = await start_app(target=target, slots=slots, threaded=True)
        lent = Lent(app, Disk(store), store.reader(), held=held)
        first = target.scripts[0]

        async def marked(call: Call) -> AsyncIterator[Chunk]:
            lent.asked.set()
            async with aclosing(cast(AsyncGenerator[Chunk, None], first(call))) as pieces:
                async for piece in pieces:
                    yield piece

        target.scripts[0] = marked
        await trio.testing.wait_all_tasks_blocked(0.1)  # the claims wait
        return lent

    return start


async def answer(message: Message[Accepted]) -> Accepted:
    with trio.fail_after(LONGEST):
        return await message.reply.wait()


@pytest.mark.parametrize("held", [False, True], ids=["lent", "held"])
async def test_the_request_leaves_while_the_job_is_stored_and_nothing_of_its_answer(
    lend: Callable[..., Awaitable[Lent]], held: bool
) -> None:
    lent = await lend(saying("at", " once"), held=held)
    await lent.begin()  # the target has answered faster than the disk
    lent.disk.go_on()
    assert (await answer(lent.submitted)).claimed
    await lent.until_done()
    assert lent.states() == ["queued", "loading", "working", "done"]
    assert lent.app.target.answered == ["1"]
    assert b"at once" in (lent.reader.content("001", "completion") or b"")


async def test_a_quick_call_is_stored_in_one_commit(
    lend: Callable[..., Awaitable[Lent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_actor, "QUICK_WITHIN", LONGEST)
    monkeypatch.setattr(quick_jobs, "LATE", LONGEST / 0.001)
    lent = await lend(saying("at", " once"), held=True)
    await lent.begin()
    lent.disk.go_on()
    assert (await answer(lent.submitted)).claimed
    await lent.until_done()
    [stored] = [commit for commit in lent.app.commits if commit.events]
    assert [event.state for event in stored.events] == ["queued", "loading", "working", "done"]
    assert b"at once" in (lent.reader.content("001", "completion") or b"")


@pytest.mark.parametrize("held", [False, True], ids=["lent", "held"])
@pytest.mark.parametrize(
    "script",
    [silent(), silent("a word"), saying("all of it"), failing(TargetFailed("t", "500")), failing(StoreFull())],
    ids=["silent", "begun", "answered", "failed", "odd"],
)
async def test_a_commit_that_fails_takes_the_request_back_and_nobody_hears_of_the_job(
    lend: Callable[..., Awaitable[Lent]], script: Script, held: bool
) -> None:
    lent = await lend(script, held=held)
    await lent.begin()
    lent.disk.go_on(StoreFull(), StoreFull())  # together with others, and alone
    with pytest.raises(StoreFull):
        await answer(lent.submitted)
    await trio.testing.wait_all_tasks_blocked(0.1)
    app = lent.app
    assert (app.target.together, app.worker.running, app.outlook.at_work) == (0, 0, {})
    assert app.target.answered == ["1"]  # not once more when it was tried alone
    assert (lent.reader.job("001"), lent.follower.next_nowait()) == (None, None)
    assert [commit.events for commit in app.commits if commit.events] == []
    with pytest.raises(JobNotFound):
        await app.queue.ask(Cancel(job_id="001"))
    await app.submit(draft(2))
    await lent.until_done(2)  # the slot is free
    assert [event.seq for event in lent.reader.events(limit=9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("held", [False, True], ids=["lent", "held"])
@pytest.mark.parametrize("slots", [1, 2])
async def test_the_answer_of_an_attempt_that_was_taken_back_is_not_taken_for_that_of_the_next(
    lend: Callable[..., Awaitable[Lent]], slots: int, held: bool
) -> None:
    """The job is stored after all, under the same id and fence, since it had no part in what failed."""
    lent = await lend(saying("old"), saying("new"), slots=slots, held=held)
    await lent.begin()
    lent.disk.go_on(StoreFull())
    assert (await answer(lent.submitted)).job.id == "001"
    await lent.until_done()
    job = lent.reader.job("001")
    assert job is not None
    assert (job.attempt, job.fence, lent.app.target.answered) == (1, 1, ["1", "1"])
    assert b"new" in (lent.reader.content("001", "completion") or b"")
    assert lent.states() == ["queued", "loading", "working", "done"]


async def test_a_caller_who_leaves_meanwhile_has_the_job_cancelled(lend: Callable[..., Awaitable[Lent]]) -> None:
    lent = await lend(saying("a word"))
    await lent.begin()
    cancelled = Cancel(job_id="001")
    await lent.app.queue.tell(cancelled)
    lent.disk.go_on()
    with trio.fail_after(LONGEST):
        await cancelled.reply.wait()
    await trio.testing.wait_all_tasks_blocked(0.1)
    job = lent.reader.job("001")
    assert job is not None
    assert job.state in (State.CANCELLED, State.DONE)  # the answer and the cancel are under way in the same moment
    assert lent.app.worker.running == 0


@pytest.mark.parametrize("held", [False, True], ids=["lent", "held"])
@pytest.mark.parametrize("error", [None, StoreFull()], ids=["stored", "not stored"])
async def test_a_drain_meanwhile_leaves_the_job_queued_or_unknown(
    lend: Callable[..., Awaitable[Lent]], error: ForemanError | None, held: bool
) -> None:
    lent = await lend(silent(), held=held)
    await lent.begin()
    with trio.fail_after(LONGEST):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lent.app.worker.drain, 0)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert not lent.known()
            lent.disk.go_on(*[error, error] if error else [])
        await lent.app.queue.close()
        await lent.app.queue.wait_closed()
    job = lent.reader.job("001")
    assert (job and (job.state, job.attempt)) == (None if error else (State.QUEUED, 0))
    assert lent.app.target.together == 0
