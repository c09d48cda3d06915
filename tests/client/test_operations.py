"""The operations alone, with made-up answers and a clock that a pause moves on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from foreman.client import (
    Accepted,
    AnswerTooLarge,
    AnswerTooSlow,
    Busy,
    ClientError,
    ConnectFailed,
    Event,
    Job,
    JobFailed,
    NotEnded,
    NotFound,
    State,
    operations,
)
from foreman.client.operations import Held, Pause
from foreman.client.requests import Ask
from foreman.domain.views import Deliveries, Delivery, Events

T = TypeVar("T")

URL = "http://foreman"
GONE = ConnectFailed("http://foreman", "it broke")
NOBODY = ConnectFailed("http://foreman")
FULL = Busy(503, "queue_full", "the queue is full", None, retry_after=7)


@dataclass
class Played:
    """Answers each request with the next of `answers`, the last for ever; one may take as long as it may be held."""

    answers: list[Any]
    now: float = 100.0
    asked: list[Ask[Any]] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    def hold(self, operation: Generator[Any, Any, T]) -> T:
        held = Held(operation)
        while (step := held.step) is not None:
            if isinstance(step, Pause):
                self.paused.append(step.seconds)
                self.now += step.seconds
                held.send(None)
                continue
            self.asked.append(step)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Slow):
                self.now += step.held + answer.longer
                answer = answer.answer
            if isinstance(answer, ClientError):
                held.throw(answer)
            else:
                held.send(answer)
        return held.result

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: self.now


@dataclass
class Slow:
    """An answer, or a fault, that comes when it was held as long as it may be, or so many seconds later."""

    answer: Job | ClientError
    longer: float = 0


def an_event(seq: int) -> Event:
    return Event(seq=seq, job_id="J", state=State.QUEUED, timestamp=datetime(2026, 1, 2, tzinfo=UTC))


def a_job(state: str) -> Job:
    return Job("J", State(state), "m", datetime(2026, 1, 2, tzinfo=UTC), attempt=1, error_code="target_failed")


def test_a_job_waits_for_room_as_foreman_wishes_and_is_sent_under_one_key() -> None:
    played = Played([FULL, GONE, Accepted("J")])
    assert played.hold(operations.submit({}, None, 60, played.clock)).job_id == "J"
    assert played.paused == [7, 0.4]
    keys = {ask.headers["Idempotency-Key"] for ask in played.asked}
    assert len(keys) == 1
    assert len(keys.pop()) >= 32


def test_patience_for_room_comes_to_an_end() -> None:
    played = Played([FULL])
    with pytest.raises(Busy):
        played.hold(operations.submit({}, "mine", 10, played.clock))
    assert played.paused == [7, 3]
    assert {ask.headers["Idempotency-Key"] for ask in played.asked} == {"mine"}


def test_without_patience_a_job_is_sent_once_and_without_a_key() -> None:
    played = Played([FULL])
    with pytest.raises(Busy):
        played.hold(operations.submit({}, None, 0, played.clock))
    assert [ask.headers.get("Idempotency-Key") for ask in played.asked] == [None]


def test_a_wait_is_held_again_and_again_without_a_pause() -> None:
    played = Played([Slow(a_job("queued")), Slow(a_job("working")), a_job("done")])
    assert played.hold(operations.wait("J", None, 60, played.clock)).state is State.DONE
    assert [ask.headers.get("Prefer") for ask in played.asked] == ["wait=30"] * 3
    assert played.paused == []


def test_a_server_that_does_not_hold_its_answer_is_not_asked_in_a_hurry() -> None:
    played = Played([a_job("queued")] * 5 + [a_job("done")])
    played.hold(operations.wait("J", None, 60, played.clock))
    assert played.paused == [0.2, 0.4, 0.8, 1.6, 2.0]


def test_a_wait_ends_when_its_time_is_over_and_not_before() -> None:
    played = Played([Slow(a_job("working"))])
    with pytest.raises(NotEnded, match=r"job J has not ended within 90\.5 s"):
        played.hold(operations.wait("J", 90.5, 60, played.clock))
    assert [ask.headers.get("Prefer") for ask in played.asked[:4]] == ["wait=30"] * 3 + [None]
    assert played.now == pytest.approx(190.5)
    assert str(NotEnded("msgbatch_1", 2)) == "msgbatch_1 has not ended within 2 s"


def test_a_wait_lives_through_a_restart_but_not_without_end() -> None:
    played = Played([Slow(a_job("working")), GONE, FULL, a_job("done")])
    assert played.hold(operations.wait("J", None, 60, played.clock)).ended
    assert len(played.paused) == 2
    played = Played([Slow(a_job("working")), GONE])
    with pytest.raises(ConnectFailed):
        played.hold(operations.wait("J", None, 10, played.clock))
    assert 10 <= sum(played.paused) < 13


def test_connections_that_hold_may_break_for_ever_but_silence_ends_it() -> None:
    played = Played([Slow(GONE)] * 20 + [a_job("done")])
    assert played.hold(operations.wait("J", None, 60, played.clock)).ended
    played = Played([Slow(GONE, longer=30)])
    with pytest.raises(ConnectFailed):
        played.hold(operations.wait("J", None, 60, played.clock))
    assert len(played.asked) == 2


def test_nobody_there_is_told_at_once() -> None:
    played = Played([NOBODY])
    with pytest.raises(ConnectFailed):
        played.hold(operations.wait("J", None, 60, played.clock))
    with pytest.raises(ConnectFailed):
        played.hold(operations.run({}, None, None, 60, played.clock))
    assert played.paused == []


def test_a_foreman_that_is_away_for_a_while_is_waited_for() -> None:
    played = Played([GONE, NOBODY, Accepted("J"), GONE, NOBODY, a_job("done")])
    assert played.hold(operations.run({}, None, None, 60, played.clock)).state is State.DONE


def test_an_unknown_job_is_not_waited_for() -> None:
    played = Played([NotFound(404, "job_not_found", "job not found")])
    with pytest.raises(NotFound):
        played.hold(operations.wait("J", None, 60, played.clock))


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_a_run_that_does_not_end_well_is_a_fault_that_has_the_job(state: str) -> None:
    played = Played([Accepted("J"), a_job(state)])
    with pytest.raises(JobFailed, match=f"job J (was )?{state}") as caught:
        played.hold(operations.run({}, None, None, 60, played.clock))
    assert (caught.value.job.state, caught.value.code) == (state, "target_failed")


def test_the_wait_for_room_counts_towards_the_time_of_a_run() -> None:
    played = Played([FULL, Accepted("J"), Slow(a_job("working"))])
    with pytest.raises(NotEnded, match="within 20 s"):
        played.hold(operations.run({}, None, 20, 60, played.clock))
    assert played.asked[2].headers["Prefer"] == "wait=13"
    assert played.now == pytest.approx(120)


def test_the_changes_of_a_job_are_asked_for_page_by_page_to_the_end() -> None:
    first, second = (an_event(seq) for seq in (7, 9))
    played = Played([Events([first], next=7), Events([second])])
    assert played.hold(operations.events(URL, "J", 0)) == [first, second]
    assert [asked.params["after"] for asked in played.asked] == ["0", "7"]
    assert Played([Events([first], next=7)]).hold(operations.events(URL, "J", 7)) == [
        first
    ]  # pages that lead nowhere end


def test_the_deliveries_of_a_job_are_asked_for_page_by_page_to_the_end() -> None:
    due = datetime(2026, 1, 2, tzinfo=UTC)
    first, second = (Delivery(f"{seq}", seq, "http://a/", "due", 0, due) for seq in (7, 9))
    played = Played([Deliveries([first], next=7), Deliveries([second])])
    assert played.hold(operations.deliveries(URL, "J")) == [first, second]
    assert [asked.params["after"] for asked in played.asked] == ["0", "7"]


def test_changes_without_end_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MOST_EVENTS", 30)
    event = an_event(1)
    played = Played([Events([event] * 10, next=seq) for seq in range(1, 10)])
    with pytest.raises(AnswerTooLarge, match="more than 30 events"):
        played.hold(operations.events(URL, "J", 0))
    assert len(played.asked) == 4


def test_within_bounds_each_answer() -> None:
    played = Played([Slow(AnswerTooSlow(URL, "late"))])
    with pytest.raises(NotEnded):
        played.hold(operations.wait("J", 5, 60, played.clock))
    assert [asked.within for asked in played.asked] == [5.5]
    played = Played([FULL, Accepted("J"), a_job("done")])
    assert played.hold(operations.run({}, None, 20, 60, played.clock)).ended
    assert [asked.within for asked in played.asked] == [20.5, 13.5, 13.5]
