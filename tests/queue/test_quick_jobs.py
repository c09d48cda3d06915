"""Quick jobs whose callers wait for their ends: stored once, together with the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from foreman.domain.errors import StoreBusy, StoreFull, TargetLost
from foreman.domain.job import State
from foreman.queue.commands import (
    Accepted,
    Cancel,
    Checkpoint,
    Claim,
    Finished,
    Message,
    Note,
    Submit,
    SubmitMany,
    Work,
)
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import draft
from tests.support.queue import ANSWER, Lender, learn, ready


class Coming:
    """The messages that come while a transaction is held, one batch after the other; then none."""

    def __init__(self, lender: Lender, *batches: Sequence[Message[Any]]) -> None:
        self.left = list(batches)
        self.asked = 0
        self._lender = lender
        self._reader = lender.store.reader()

    def __call__(self, seconds: float) -> Sequence[Message[Any]]:
        assert seconds == pytest.approx(0.02, rel=0.1)  # twice the forecast
        self.asked += 1
        assert self._lender.lent, "nothing to wait for"
        assert self._reader.seqs().newest == 0, "something is on disk"
        self._lender.now += 0.25
        return self.left.pop(0) if self.left else []


@pytest.fixture
def lender(store: SqliteWriter) -> Lender:
    lender = Lender(store)
    learn(lender.handlers.outlook, "m", seconds=0.0099)
    return lender


def patient(number: int = 1, **fields: Any) -> Submit:
    return Submit(draft=draft(number, **fields), patient=True)


def finished(claim: Claim | None, number: int = 1) -> Finished:
    return Finished(job_id=f"{number:03}", fence=1, outcome=ANSWER, claim=claim)


def test_a_quick_job_is_stored_once_with_its_answer(lender: Lender) -> None:
    claim, submit = ready(), patient()
    lender.take(claim)
    coming = Coming(lender, [finished(claim)])
    [(lent_to, work)], answers = lender.take(submit, more=coming)
    assert lent_to is claim and claim.reply.waits_for_end and coming.asked == 1
    assert lender.steps() == [("", "queued"), ("queued", "loading"), ("loading", "working"), ("working", "done")]
    job = lender.job()
    assert (job.state, job.attempt, job.fence, job.completed_at) == (State.DONE, 1, 1, lender.now)
    assert job.started_at == lender.now - 0.25
    assert lender.store.content("001", "completion") == ANSWER.artifacts[0].data
    assert [event.state for event in lender.store.events(limit=9)] == ["queued", "loading", "working", "done"]
    found = {id(message): answer for message, answer in answers}
    accepted = found[id(submit)]
    assert found[id(claim)] is work
    assert isinstance(accepted, Accepted) and accepted.claimed
    [minute] = [depth for depth in lender.store.depths(step=60, begin=0, end=2**40) or [] if depth.step == 60]
    assert (minute.waiting, minute.running) == (0, 1)


@pytest.mark.parametrize(
    "other",
    [
        Submit(draft=draft(2)),
        SubmitMany(drafts=[draft(2)]),
        Note(name="a", value="b"),
        Checkpoint(),
        patient(2, most_tokens=1000),
    ],
    ids=["submit", "bulk", "note", "checkpoint", "long"],
)
def test_nobody_who_waits_for_the_transaction_waits_for_an_answer_too(lender: Lender, other: Message[Any]) -> None:
    learn(lender.handlers.outlook, "m", seconds=9.0, most=1000)
    lender.handlers.outlook.rules = type(lender.handlers.outlook.rules)(slots=2)
    lender.take(ready(), ready())
    coming = Coming(lender)
    lent, answers = lender.take(patient(), other, more=coming)
    assert coming.asked == 0
    assert not any(claim.reply.waits_for_end for claim, _ in lent)
    assert lender.job().state is State.WORKING
    assert id(other) in {id(message) for message, _ in answers}


def test_a_job_of_a_store_with_other_nodes_is_not_held(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lender.store, "looks_every", 60.0)
    lender.take(ready())
    coming = Coming(lender)
    lender.take(patient(), more=coming)
    assert coming.asked == 0
    assert lender.job().state is State.WORKING


@pytest.mark.parametrize(
    "then", [[], [Submit(draft=draft(2))], [Checkpoint()]], ids=["silence", "submit", "checkpoint"]
)
def test_the_transaction_goes_on_when_nothing_comes_or_somebody_else_waits(
    lender: Lender, then: list[Message[Any]]
) -> None:
    claim = ready()
    lender.take(claim)
    coming = Coming(lender, then, [finished(claim)])
    _, answers = lender.take(patient(), more=coming)
    assert coming.asked == 1
    assert lender.job().state is State.WORKING
    assert {id(message) for message in then} <= {id(message) for message, _ in answers}
    lender.take(*coming.left[0])
    assert lender.job().state is State.DONE


def test_several_jobs_are_held_together_also_those_that_come_later(lender: Lender) -> None:
    claims = [ready(), ready()]
    lender.handlers.outlook.rules = type(lender.handlers.outlook.rules)(slots=2)
    lender.take(*claims)
    coming = Coming(lender, [patient(2)], [finished(claims[0]), ready()], [finished(claims[1], 2)])
    lent, answers = lender.take(patient(1), more=coming)
    assert [claim for claim, _ in lent] == claims
    assert [lender.job(number).state for number in (1, 2)] == [State.DONE, State.DONE]
    assert [answer.job.id for _, answer in answers if isinstance(answer, Work)] == ["001", "002"]


def test_a_slot_does_not_wait_with_its_next_job_for_the_end_of_another(lender: Lender) -> None:
    """Its claim came in this transaction, so that it begins after the commit."""
    claims, later = [ready(), ready()], ready()
    lender.handlers.outlook.rules = type(lender.handlers.outlook.rules)(slots=2)
    lender.take(*claims)
    coming = Coming(lender, [patient(2), patient(3)], [finished(claims[0]), later], [finished(claims[1], 2)])
    lender.take(patient(1), more=coming)
    assert coming.asked == 2
    assert [lender.job(number).state for number in (1, 2, 3)] == [State.DONE, State.WORKING, State.WORKING]
    assert not later.reply.waits_for_end


def test_a_held_job_can_be_cancelled(lender: Lender) -> None:
    claim, cancel = ready(), Cancel(job_id="001")
    lender.take(claim)
    coming = Coming(lender, [cancel])
    lender.take(patient(), more=coming)
    assert coming.asked == 1
    assert lender.job().state is State.CANCELLED
    assert lender.steps()[-1] == ("working", "cancelled")


def test_an_attempt_that_fails_meanwhile_is_stored_with_what_becomes_of_its_job(lender: Lender) -> None:
    claim = ready()
    lender.take(claim)
    failed = Finished(job_id="001", fence=1, outcome=TargetLost("t", "gone"), claim=claim)
    lender.take(patient(), more=Coming(lender, [failed]))
    job = lender.job()
    assert (job.state, job.attempt, job.error_code) == (State.QUEUED, 1, "target_lost")
    assert job.ready_at is not None and job.ready_at > lender.now


@pytest.mark.parametrize("slots", [1, 2])
def test_an_answer_counts_only_with_the_claim_that_it_was_given_for(lender: Lender, slots: int) -> None:
    """The job is stored after all, and perhaps claimed by another slot, with the same fence."""
    first, *others = claims = [ready() for _ in range(slots)]
    lender.take(*claims)
    lender.errors = [StoreFull()]
    submit = patient()
    lent, answers = lender.take(submit, more=Coming(lender, [finished(first)]))
    assert [(to, work and work.job.id) for to, work in lent] == [(first, "001"), (first, None)]
    assert first.reply.undone
    assert lender.job().state is (State.WORKING if others else State.QUEUED)
    lender.take(finished(first))  # one that was on its way
    assert lender.job().state is not State.DONE
    assert submit in [message for message, _ in answers]


def test_a_held_job_that_cannot_be_stored_leaves_nothing(lender: Lender) -> None:
    claim, submit = ready(), patient()
    lender.take(claim)
    lender.errors = [StoreBusy("locked")]
    lent, answers = lender.take(submit, more=Coming(lender, [finished(claim)]))
    assert lent[-1] == (claim, None)
    assert [type(answer) for message, answer in answers if message is submit] == [StoreBusy]
    lender.take()  # the report that is owed says nothing of any job
    assert lender.store.job("001") is None
    assert lender.store.seqs().newest == 0
    assert not lender.handlers.owes
