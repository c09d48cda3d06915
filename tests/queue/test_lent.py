"""Which claims are given their work before it is on disk, and what becomes of them when the commit fails."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from foreman.domain.errors import StoreBroken, StoreFull, StoreLost, StoreUnavailable
from foreman.domain.job import State
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Cancel, Claim, Pause, Resume, Submit, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.conftest import Logged
from tests.support.actors import draft, inline, now
from tests.support.queue import Lender, ready
from tests.support.sites import only_site


@pytest.fixture
def lender(store: SqliteWriter) -> Lender:
    return Lender(store)


def test_a_new_job_is_lent_to_the_slot_that_waits_for_it_and_given_to_it_by_the_commit(lender: Lender) -> None:
    claim = ready()
    assert lender.take(claim) == ([], [])
    [(lent_to, work)], answers = lender.take(Submit(draft=draft()))
    assert (lent_to, work and work.job.state) == (claim, State.WORKING)
    assert (claim, work) in answers


def test_a_job_whose_model_must_be_loaded_first_is_not_lent(lender: Lender) -> None:
    lender.take(Claim())
    assert lender.take(Submit(draft=draft()))[0] == []
    assert lender.job().state is State.LOADING


def test_a_job_that_was_on_disk_before_is_not_lent(lender: Lender) -> None:
    """Its attempt must count from the moment at which its request is touched: it may be what ends the process."""
    lender.submit()
    lender.say(Pause())
    assert lender.take(ready()) == ([], [])
    assert lender.take(Resume())[0] == []
    assert lender.job().state is State.WORKING


def test_a_claim_that_comes_in_the_same_batch_is_not_lent_to(lender: Lender) -> None:
    """If the commit failed, it would be tried again alone."""
    assert lender.take(ready(), Submit(draft=draft()))[0] == []
    assert lender.job().state is State.WORKING


def test_a_job_that_is_cancelled_in_the_same_batch_is_not_lent(lender: Lender) -> None:
    lender.take(ready())
    assert lender.take(Submit(draft=draft()), Cancel(job_id="001"))[0] == []


def test_what_was_lent_is_taken_back_when_the_commit_fails_and_the_claim_is_forgotten(lender: Lender) -> None:
    claim, submit = ready(), Submit(draft=draft())
    lender.take(claim)
    lender.errors = [StoreFull(), StoreFull()]  # together with others, and alone
    lent, [(message, answer)] = lender.take(submit)
    assert [(to, work and work.job.id) for to, work in lent] == [(claim, "001"), (claim, None)]
    assert (message, type(answer)) == (submit, StoreFull)
    assert lender.store.job("001") is None
    assert [message for message, _ in lender.take(Submit(draft=draft(2)))[1] if message is claim] == []


def test_another_slot_gets_the_job_that_is_stored_after_all(lender: Lender) -> None:
    first, second = ready(), ready()
    lender.take(first, second)
    lender.errors = [StoreFull()]
    lent, answers = lender.take(Submit(draft=draft()))
    assert [to for to, _ in lent] == [first, first]
    [work] = [answer for message, answer in answers if message is second]
    assert isinstance(work, Work)
    assert (work.job.fence, work.job.attempt, work.seq) == (1, 1, 3)


def test_nothing_is_lent_after_a_commit_that_failed_until_one_succeeds(lender: Lender) -> None:
    lender.take(*(ready() for _ in range(4)))
    lender.errors = [StoreFull(), StoreFull()]
    assert len(lender.take(Submit(draft=draft(1)))[0]) == 2
    assert lender.take()[0] == []  # it wrote nothing, so it tells nothing
    assert lender.take(Submit(draft=draft(2)))[0] == []
    [(_, work)], _ = lender.take(Submit(draft=draft(3)))
    assert work and work.job.id == "003"


@pytest.mark.parametrize("error", [StoreBroken("the disk is gone"), StoreUnavailable()], ids=["broken", "away"])
async def test_a_claim_learns_that_the_store_is_lost_or_that_its_work_is_gone(
    store: SqliteWriter, error: Exception, autojump_clock: MockClock, logged: Logged
) -> None:
    lender = Lender(store)
    queue = QueueActor(CommandHandlers(store, JobRules(), only_site(), clock=now), in_thread=inline)
    claim, submit, undone = ready(), Submit(draft=draft()), trio.Event()
    claim.reply.undo = undone.set
    with pytest.RaisesGroup(StoreBroken) if isinstance(error, StoreBroken) else trio.fail_after(9):
        async with trio.open_nursery() as nursery:
            await nursery.start(queue.run)
            await queue.tell(claim)
            await trio.testing.wait_all_tasks_blocked()
            lender.errors = [error, error]
            await queue.tell(submit)
            assert await claim.reply.first() is await claim.reply.wait() is None
            assert undone.is_set()
            with pytest.raises(StoreLost if isinstance(error, StoreBroken) else StoreUnavailable):
                await submit.reply.wait()
            if not isinstance(error, StoreBroken):
                nursery.cancel_scope.cancel()
    if isinstance(error, StoreBroken):
        logged.claim("the database is lost: foreman stops")
