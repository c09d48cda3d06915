"""Quotas of tokens at the queue: what is refused, what waits, and that nobody else is held up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.errors import QuotaExceeded, StoreFull
from foreman.domain.job import Job, Priority
from foreman.domain.quotas import Quota, seconds_until_below, tokens_used
from foreman.domain.scheduling.choose import OrderRules
from foreman.domain.usage import Tokens
from foreman.queue.commands import Answered, Cancel, Claim, Finished, Retry, Submit, SubmitMany, Withdraw, Work
from foreman.queue.why import why
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import START, draft
from tests.support.queue import ANSWER, QueueHarness


def limited(store: SqliteWriter, *, slots: int = 1, **quota: int) -> QueueHarness:
    """Handlers under which alice has a quota."""
    most = {"alice": quota["running"]} if "running" in quota else {}
    order = OrderRules(slots=slots, most_running=most)
    return QueueHarness(store, order=order, quotas={"alice": Quota(**quota)})


def refused(harness: QueueHarness, number: int, **fields: Any) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught:
        harness.submit(number, owner="alice", **fields)
    return caught.value


def works(harness: QueueHarness, count: int) -> list[Job]:
    """The jobs that so many free slots get."""
    found = [work.job for work in harness.answers(*[Claim() for _ in range(count)]) if isinstance(work, Work)]
    harness.handlers.apply([Withdraw()])
    return found


# Waiting jobs.


def test_more_waiting_jobs_than_the_quota_allows_are_refused_and_others_are_not(store: SqliteWriter) -> None:
    harness = limited(store, waiting=2)
    harness.submit(1, owner="alice")
    harness.submit(2, owner="alice", caller="another name", not_before=START + 60)  # a later start waits as well
    error = refused(harness, 3)
    assert str(error) == "alice has 2 waiting jobs, and the quota of this token allows 2"
    assert error.retry_after > 0 and "the setting quotas" in (error.hint or "")
    harness.submit(4, owner="bob")
    harness.submit(5)
    harness.claimed()
    harness.submit(6, owner="alice")


def test_together_in_one_transaction_no_more_are_let_in(store: SqliteWriter) -> None:
    harness = limited(store, waiting=3)
    answers = harness.answers(*[Submit(draft=draft(n, owner="alice")) for n in range(1, 8)])
    assert [isinstance(answer, QuotaExceeded) for answer in answers] == [False] * 3 + [True] * 4


def test_what_a_free_slot_takes_does_not_count_as_waiting(store: SqliteWriter) -> None:
    harness = limited(store, slots=2, waiting=1)
    harness.apply(Claim(), Claim())
    answers = harness.answers(*[Submit(draft=draft(n, owner="alice")) for n in range(1, 6)])
    assert [isinstance(answer, QuotaExceeded) for answer in answers] == [False] * 3 + [True] * 2


def test_of_many_lines_those_beyond_the_quota_are_refused_by_number(store: SqliteWriter) -> None:
    harness = limited(store, waiting=3)
    harness.submit(1, owner="alice")
    owners = ["alice", "bob", "alice", "alice", "bob"]
    told = harness.say(SubmitMany(drafts=[draft(n, owner=owner) for n, owner in enumerate(owners, 2)]))
    assert list(told) == [3] and isinstance(told[3], QuotaExceeded)
    assert "alice has 3 waiting jobs" in str(told[3])
    assert Counter(job.owner for job in store.jobs(limit=9)) == {"alice": 3, "bob": 2}


def test_a_retry_needs_room_and_a_repeated_submission_does_not(store: SqliteWriter) -> None:
    harness = limited(store, waiting=1)
    once = {"owner": "alice", "idempotency_key": "k", "fingerprints": (b"f",)}
    harness.submit(1, **once)
    assert harness.submit(2, **once).job.id == "001"
    harness.say(Cancel(job_id="001"))
    harness.submit(3, owner="alice")
    with pytest.raises(QuotaExceeded):
        harness.say(Retry(job_id="001"))
    harness.say(Cancel(job_id="003"))
    harness.say(Retry(job_id="001"))


def test_the_time_to_come_back_is_when_its_next_job_starts(store: SqliteWriter) -> None:
    harness = limited(store, waiting=1)
    harness.submit(1, owner="bob")
    job = harness.claimed()
    harness.handlers.outlook.learn(job, seconds=40.0, tokens=0)
    harness.handlers.outlook.claimed(job, harness.now)
    harness.handlers.outlook.began(job.id, harness.now)
    harness.submit(2, owner="alice")
    assert refused(harness, 3).retry_after == pytest.approx(40)


def test_the_count_is_right_after_a_restart_and_after_a_full_disk(
    store: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = limited(store, waiting=2)

    def full(*_: object) -> None:
        raise StoreFull

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", full)
        with pytest.raises(StoreFull):
            harness.submit(1, owner="alice")
    harness.submit(2, owner="alice")
    harness.submit(3, owner="alice")
    refused(harness, 4)
    again = limited(store, waiting=2)
    refused(again, 4)
    again.claimed()
    again.submit(4, owner="alice")


# Running jobs.


def test_beyond_the_running_jobs_it_waits_while_others_run(store: SqliteWriter) -> None:
    harness = limited(store, slots=4, running=2)
    for number in range(1, 6):
        harness.submit(number, owner="alice", caller=f"name {number}")
    for number in range(6, 8):
        harness.submit(number, owner="bob")
    jobs = works(harness, 4)
    assert Counter(job.owner for job in jobs) == {"alice": 2, "bob": 2}
    assert works(harness, 1) == []
    harness.finish(next(job for job in jobs if job.owner == "bob"))
    assert works(harness, 1) == []
    harness.finish(next(job for job in jobs if job.owner == "alice"))
    assert [job.owner for job in works(harness, 2)] == ["alice"]


def test_a_claim_that_waits_is_answered_as_soon_as_the_quota_has_room(store: SqliteWriter) -> None:
    harness = limited(store, slots=2, running=1)
    for number in (1, 2):
        harness.submit(number, owner="alice")
    first, second = Claim(), Claim()
    answers = harness.apply(first, second)
    job = answers[id(first)].job
    assert id(second) not in answers
    answers = harness.apply(Finished(job_id=job.id, fence=job.fence, outcome=ANSWER))
    assert answers[id(second)].job.id == "002"


def test_however_much_a_full_caller_has_waiting_other_models_and_classes_go_on(store: SqliteWriter) -> None:
    harness = limited(store, slots=3, running=1)
    harness.submit(1, model="running", owner="alice")
    harness.claimed()
    for number in range(2, 40):  # far more lanes than a claim looks at
        harness.submit(number, model=f"model {number}", owner="alice", priority=Priority.HIGH)
    harness.submit(50, model="running", owner="bob", priority=Priority.LOW)
    assert [job.id for job in works(harness, 2)] == ["050"]


def test_the_age_of_what_may_not_run_is_no_reason_to_serve_its_class(store: SqliteWriter) -> None:
    harness = limited(store, slots=2, running=1)
    harness.submit(1, owner="alice", priority=Priority.LOW)
    harness.claimed()
    harness.submit(2, owner="alice", priority=Priority.LOW)
    harness.now += 10_000  # it starves; a new one of its class does not
    harness.submit(3, owner="bob", priority=Priority.LOW)
    harness.submit(4, owner="bob")
    assert [job.id for job in works(harness, 1)] == ["004"]


def test_why_names_the_quota(store: SqliteWriter) -> None:
    harness = limited(store, slots=2, running=1)
    harness.submit(1, owner="alice")
    harness.claimed()
    harness.submit(2, owner="alice")
    harness.submit(3, owner="bob")
    outlook = harness.handlers.outlook
    said = [why(outlook, store, job, outlook.of(store, job, START), START) for job in map(harness.job, (2, 3))]
    assert said[0] is not None and said[1] is not None
    assert (said[0].reason, said[0].text) == ("quota", "1 job of alice runs, and its quota allows 1")
    assert said[1].reason != "quota"


@pytest.mark.parametrize(("priority", "gives"), [(Priority.HIGH, []), (Priority.LOW, ["002"])])
def test_an_urgent_job_beyond_its_quota_stops_only_a_lower_job_of_its_own_token(
    store: SqliteWriter, priority: Priority, gives: list[str]
) -> None:
    harness = limited(store, slots=2, running=1)
    outlook = harness.handlers.outlook
    for number, owner, urgency in ((1, "bob", Priority.LOW), (2, "alice", priority)):
        new = draft(number, owner=owner, priority=urgency)
        work = harness.answers(Submit(draft=new), Claim(loaded="m".__eq__))[1]
        outlook.claimed(work.job, START)
        outlook.began(work.job.id, START)
    harness.submit(3, owner="alice", priority=Priority.HIGH)
    harness.submit(4, owner="alice", priority=Priority.HIGH)
    assert list(harness.handlers._ledger.giving_way) == gives


# Tokens an hour.


def used(harness: QueueHarness, number: int, tokens: int, owner: str = "alice") -> None:
    harness.submit(number, owner=owner)
    harness.finish(harness.claimed(), Answered(ANSWER.artifacts, tokens=Tokens(tokens - 1, 0, 1)))


def test_tokens_of_the_last_hour_are_counted_and_come_free_after_it(store: SqliteWriter) -> None:
    harness = limited(store, tokens_per_hour=100)
    used(harness, 1, 60)
    used(harness, 2, 1000, "bob")
    harness.now += 600
    used(harness, 3, 50)
    error = refused(harness, 4)
    assert str(error) == "alice used 110 tokens in the last hour, and the quota of this token allows 100"
    assert 3000 - 600 <= error.retry_after <= 3000 + 60
    harness.now += error.retry_after
    harness.submit(4, owner="alice")


def test_they_are_known_after_a_restart_and_within_the_same_transaction(store: SqliteWriter) -> None:
    harness = limited(store, tokens_per_hour=100)
    used(harness, 1, 90)
    again = limited(store, tokens_per_hour=100)
    again.now = harness.now + 30
    again.submit(2, owner="alice")
    job = again.claimed()
    told = Answered(ANSWER.artifacts, tokens=Tokens(9, 0, 1))
    answers = again.answers(
        Finished(job_id=job.id, fence=job.fence, outcome=told), Submit(draft=draft(3, owner="alice"))
    )
    assert isinstance(answers[1], QuotaExceeded)
    refused(again, 4)


def test_a_cancel_at_the_very_end_of_an_answer_does_not_save_its_tokens(store: SqliteWriter) -> None:
    harness = limited(store, tokens_per_hour=100)
    harness.submit(1, owner="alice")
    job = harness.claimed()
    told = Answered(ANSWER.artifacts, tokens=Tokens(60, 0, 40))
    harness.apply(Cancel(job_id="001"), Finished(job_id=job.id, fence=job.fence, outcome=told))
    assert harness.job(1).state == "cancelled"
    assert "used 100 tokens" in str(refused(harness, 2))


def test_they_are_right_again_when_what_was_counted_could_not_be_stored(
    store: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = limited(store, tokens_per_hour=100)
    used(harness, 1, 90)
    harness.submit(2, owner="alice")
    job = harness.claimed()
    told = Answered(ANSWER.artifacts, tokens=Tokens(9, 0, 1))

    def full(*_: object) -> None:
        raise StoreFull

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", full)
        with pytest.raises(StoreFull):
            harness.say(Finished(job_id=job.id, fence=job.fence, outcome=told))
    harness.apply()  # stores the report
    assert harness.job(2).state == "done"
    assert "used 100 tokens" in str(refused(harness, 3))


@given(
    by_minute=st.dictionaries(st.integers(0, 200).map(lambda n: n * 60), st.integers(1, 100), max_size=9),
    limit=st.integers(1, 300),
    now=st.floats(0, 12_060),
)
def test_the_time_to_come_back_is_the_first_one_with_room(by_minute: dict[int, int], limit: int, now: float) -> None:
    known = {at: tokens for at, tokens in by_minute.items() if at <= now}
    wait = seconds_until_below(limit, known, now)
    assert 0 <= wait <= 3660
    assert tokens_used(known, now + wait + 0.001) < limit
    if wait > 0.01:
        assert tokens_used(known, now + wait - 0.01) >= limit


# A reload.


def test_other_quotas_hold_from_the_next_command_on(store: SqliteWriter) -> None:
    harness = limited(store, waiting=1)
    harness.submit(1, owner="alice")
    refused(harness, 2)
    harness.handlers.change(limited(store, waiting=2).rules)
    harness.submit(2, owner="alice")
    refused(harness, 3)
