"""Receivers that misbehave: what becomes of their deliveries, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.webhooks.conftest import QUICK
from tests.support.api import chat, deliveries, ended, submit
from tests.support.foreman import Daemon, Upstream, until
from tests.support.receiver import Receiver, a_receiver

TIMEOUT = 0.4  # seconds that this Foreman gives a receiver
READ_BY_THE_SYSTEM = 16 * 2**20  # bytes that may lie in socket buffers
QUEUED = ["queued"]


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("foreman") / "data"
    with Daemon(folder, ollama_url=upstream.url, webhook_timeout=TIMEOUT, **QUICK) as daemon:
        yield daemon
        assert not daemon.errors


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("500", "the receiver answered 500"),
        ("hang", "no answer within 0.4 s"),
        ("redirect", "the receiver answered 307"),
        ("flood 500", "the receiver answered 500"),
    ],
)
def test_five_retries_then_dead_then_redelivered_on_demand(daemon: Daemon, answer: str, words: str) -> None:
    with a_receiver(answer) as bad, a_receiver() as healthy:
        job = submit(daemon, state_webhook_url=bad.url, webhook_events=QUEUED)
        others = [submit(daemon, state_webhook_url=healthy.url, webhook_events=QUEUED) for _ in range(5)]
        until(lambda: {got.payload["job_id"] for got in list(healthy.got)} == set(others))
        assert deliveries(daemon, job)[0]["state"] == "due", "the healthy ones had to wait for the bad one"
        until(lambda: ended(daemon, job))
        (delivery,) = deliveries(daemon, job)
        assert (delivery["state"], delivery["attempts"], delivery["error"]) == ("dead", 6, words)
        assert len(bad.got) == 6
        assert {(got.path, got.id, got.body) for got in bad.got} == {("/hook", bad.got[0].id, bad.got[0].body)}
        assert bad.flooded < READ_BY_THE_SYSTEM
        bad.answer = "204"
        again = daemon.http.post(f"/jobs/{job}/deliveries/{delivery['delivery_id']}/redeliver")
        assert (again.status_code, again.json()["state"]) == (202, "due")
        until(lambda: deliveries(daemon, job)[0]["state"] == "delivered")
        assert (len(bad.got), bad.got[6].id) == (7, bad.got[0].id)


def test_a_receiver_that_was_down_gets_it_when_it_is_back(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        port, url = receiver.port, receiver.url
    job = submit(daemon, state_webhook_url=url, webhook_events=QUEUED)
    until(lambda: deliveries(daemon, job)[0]["attempts"])
    with a_receiver(port=port) as receiver:
        until(lambda: ended(daemon, job))
        (delivery,) = deliveries(daemon, job)
        if delivery["state"] == "dead":  # this machine was slower than all the retries
            daemon.http.post(f"/jobs/{job}/deliveries/{delivery['delivery_id']}/redeliver")
            until(lambda: ended(daemon, job))
        assert receiver.states(job) == QUEUED


def test_a_success_counts_however_much_is_said_after_it(daemon: Daemon) -> None:
    with a_receiver("flood 200") as receiver:
        job = submit(daemon, state_webhook_url=receiver.url, webhook_events=QUEUED)
        until(lambda: ended(daemon, job))
        until(lambda: receiver.broken_off)
        assert deliveries(daemon, job)[0]["state"] == "delivered"
        assert receiver.flooded < READ_BY_THE_SYSTEM


def test_retry_after_is_honoured(daemon: Daemon) -> None:
    with a_receiver("429 after=90") as receiver:
        job = submit(daemon, state_webhook_url=receiver.url, webhook_events=QUEUED)
        until(lambda: deliveries(daemon, job)[0]["attempts"])
        (delivery,) = deliveries(daemon, job)
        submitted = daemon.http.get(f"/jobs/{job}").json()["created_at"]
        assert (delivery["state"], delivery["status"]) == ("due", 429)
        assert (_seconds(delivery["due_at"]) - _seconds(submitted)) >= 90
        receiver.answer = "204"
        daemon.http.post(f"/jobs/{job}/deliveries/{delivery['delivery_id']}/redeliver")
        until(lambda: ended(daemon, job))
        assert len(receiver.got) == 2


def test_gone_stops_all_further_deliveries_of_that_job_only(daemon: Daemon) -> None:
    with a_receiver("410") as receiver:
        job = submit(daemon, "#slow=0.2", state_webhook_url=receiver.url)
        until(lambda: daemon.http.get(f"/jobs/{job}").json()["state"] == "done" and ended(daemon, job))
        told = len(receiver.of(job))
        assert told < 4
        assert "stopped" in {delivery["state"] for delivery in deliveries(daemon, job)}
        receiver.answer = "204"
        other = submit(daemon, state_webhook_url=receiver.url)
        until(lambda: "done" in receiver.states(other))
        assert len(receiver.of(job)) == told


def test_many_hanging_receivers_leave_room_for_those_that_are_well(upstream: Upstream, tmp_path: Path) -> None:
    settings = QUICK | {"webhook_timeout": 60, "webhook_concurrency": 4}
    with ExitStack() as stack, Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon:
        well = stack.enter_context(a_receiver())
        first = submit(daemon, state_webhook_url=well.url, webhook_events=QUEUED)
        until(lambda: ended(daemon, first))
        hanging = [stack.enter_context(a_receiver("hang")) for _ in range(8)]
        stuck = [submit(daemon, state_webhook_url=bad.url, webhook_events=QUEUED) for bad in hanging]
        until(lambda: sum(len(bad.got) for bad in hanging) == 3)  # all that strangers may have of the four
        jobs = [submit(daemon, state_webhook_url=well.url, webhook_events=QUEUED) for _ in range(20)]
        until(lambda: {got.payload["job_id"] for got in list(well.got)} == {first, *jobs})
        assert [deliveries(daemon, job)[0]["attempts"] for job in stuck] == [0] * 8
        daemon.kill()


def test_no_job_waits_for_a_receiver(daemon: Daemon) -> None:
    with a_receiver("hang") as receiver:
        answer = daemon.http.post("/jobs", json=chat(state_webhook_url=receiver.url), headers={"Prefer": "wait=20"})
        assert (answer.status_code, answer.json()["state"]) == (200, "done")
        assert receiver.states(answer.json()["job_id"])[1:] == []


def test_only_deliveries_of_the_job_can_be_redelivered(daemon: Daemon, receiver: Receiver) -> None:
    job = submit(daemon, state_webhook_url=receiver.url, webhook_events=QUEUED)
    until(lambda: ended(daemon, job))
    other = submit(daemon)
    seq = deliveries(daemon, job)[0]["delivery_id"]
    for path in (f"/jobs/{other}/deliveries/{seq}", f"/jobs/{job}/deliveries/x", f"/jobs/{job}/deliveries/{10**30}"):
        answer = daemon.http.post(f"{path}/redeliver")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")
    assert daemon.http.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/deliveries").json()["code"] == "job_not_found"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
