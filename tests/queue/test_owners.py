"""Who may change a job: the transaction that changes it decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreman.domain.caller import FOREMAN, Caller
from foreman.domain.errors import AdminRequired, DeliveryNotFound, IllegalTransition, JobNotFound, JobUnreadable
from foreman.domain.job import State
from foreman.queue.commands import Cancel, Delete, Message, Pause, Redeliver, Resume, Retry
from foreman.queue.outlook import Outlook
from foreman.store.sqlite.writer import SqliteWriter
from tests.conftest import Logged
from tests.support.queue import QueueHarness

ALICE = Caller("alice", admin=False)
BOB = Caller("bob", admin=False)
HIDDEN = Caller("bob", admin=False, sees_all=False)
COMMANDS: list[Callable[[str, Caller], Message[Any]]] = [
    lambda job_id, caller: Cancel(job_id=job_id, caller=caller),
    lambda job_id, caller: Retry(job_id=job_id, caller=caller),
    lambda job_id, caller: Delete(job_id=job_id, caller=caller),
    lambda job_id, caller: Redeliver(job_id=job_id, seq=9, caller=caller),
]


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    harness = QueueHarness(store)
    harness.submit(1, owner="alice")
    return harness


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("caller", "error"), [(BOB, AdminRequired), (HIDDEN, JobNotFound)])
def test_a_job_is_its_owners_whatever_state_it_is_in(
    harness: QueueHarness, command: Callable[..., Message[Any]], caller: Caller, error: type[Exception]
) -> None:
    with pytest.raises(error):
        harness.say(command("001", caller))
    harness.finish(harness.claimed())
    with pytest.raises(error):  # not that the state does not allow it
        harness.say(command("001", caller))
    with pytest.raises(JobNotFound):
        harness.say(command("nobody", caller))
    assert harness.job(1).state is State.DONE


def test_its_owner_and_foreman_may_change_a_job(harness: QueueHarness) -> None:
    assert harness.say(Cancel(job_id="001", caller=ALICE)).state is State.CANCELLED
    assert harness.say(Retry(job_id="001", caller=FOREMAN)).job.state is State.QUEUED
    with pytest.raises(DeliveryNotFound):
        harness.say(Redeliver(job_id="001", seq=9, caller=ALICE))
    with pytest.raises(IllegalTransition):
        harness.say(Delete(job_id="001", caller=ALICE))
    harness.say(Cancel(job_id="001", caller=ALICE))
    harness.say(Delete(job_id="001", caller=ALICE))
    assert harness.store.job("001") is None


def test_an_unreadable_job_has_no_known_owner(harness: QueueHarness, logged: Logged) -> None:
    harness.store._db.execute("UPDATE jobs SET metadata = 'no JSON'")
    for caller, error in ((ALICE, AdminRequired), (HIDDEN, JobNotFound), (FOREMAN, JobUnreadable)):
        with pytest.raises(error):
            harness.say(Cancel(job_id="001", caller=caller))
    with pytest.raises(AdminRequired):
        harness.say(Delete(job_id="001", caller=ALICE))
    harness.say(Delete(job_id="001", caller=FOREMAN))
    logged.claim("job failed: it cannot be read")
    assert harness.store.job("001") is None


def test_a_pause_is_shown_at_once_and_remembered(harness: QueueHarness) -> None:
    harness.say(Pause())
    assert harness.handlers.outlook.paused
    again = QueueHarness(harness.store)
    assert (again.handlers.outlook.paused, again.claim()) == (True, None)
    again.say(Resume())
    assert not again.handlers.outlook.paused
    assert not QueueHarness(harness.store).handlers.outlook.paused
    assert not Outlook().paused
