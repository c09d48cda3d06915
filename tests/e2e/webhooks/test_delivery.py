"""What a receiver gets of a job, and how it can tell that it is Foreman's."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from foreman import verify_webhook
from foreman.receiver import SignatureInvalid
from tests.e2e.webhooks.conftest import QUICK
from tests.support.api import deliveries, ended, submit
from tests.support.foreman import Daemon, Upstream, until
from tests.support.receiver import SECRET, a_receiver, verified

pytestmark = pytest.mark.every_store

KEYS = {
    "job_id",
    "state",
    "previous_state",
    "timestamp",
    "model",
    "attempt",
    "error",
    "result",
    "artifacts",
    "seq",
    "custom_id",
    "target",
    "metadata",
}
TRANSITIONS = [("queued", "", 0), ("loading", "queued", 1), ("working", "loading", 1), ("done", "working", 1)]


def test_every_change_of_a_job_arrives_once_signed_and_as_the_wire_says(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        job = submit(daemon, state_webhook_url=receiver.url, custom_id="mine", metadata={"run": "7"})
        until(lambda: "done" in receiver.states(job) and ended(daemon, job))
        payloads = [verified(got) for got in receiver.got]
    assert [(p["state"], p["previous_state"], p["attempt"]) for p in payloads] == TRANSITIONS
    assert all(set(payload) == KEYS for payload in payloads)
    assert all((p["job_id"], p["custom_id"], p["metadata"]) == (job, "mine", {"run": "7"}) for p in payloads)
    assert [(p["result"], p["artifacts"], p["error"]) for p in payloads[:3]] == [(None, None, None)] * 3
    shown = daemon.http.get(f"/jobs/{job}").json()
    assert (payloads[3]["result"], payloads[3]["artifacts"]) == (shown["result"], shown["artifacts"])
    assert payloads[3]["result"]["message"]["content"] == "w0 w1 w2 "
    events = daemon.http.get(f"/jobs/{job}/events").json()["events"]
    told = [(p["seq"], p["state"], p["timestamp"]) for p in payloads]
    assert told == [(e["seq"], e["state"], e["timestamp"]) for e in events]
    headers = receiver.got[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("foreman/")
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert [d["state"] for d in deliveries(daemon, job)] == ["delivered"] * 4


def test_only_the_wanted_events_are_sent(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        job = submit(daemon, state_webhook_url=receiver.url, webhook_events=["done", "failed"])
        until(lambda: receiver.states(job))
    assert receiver.states(job) == ["done"]
    assert len(deliveries(daemon, job)) == 1


def test_a_failed_job_carries_its_error_and_no_result(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        job = submit(daemon, "#status=400", state_webhook_url=receiver.url, webhook_events=["failed"])
        until(lambda: receiver.of(job))
    payload = receiver.got[0].payload
    assert "told to" in payload["error"]
    assert (payload["result"], payload["artifacts"]) == (None, None)


def test_what_is_too_large_goes_by_its_url(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        job = submit(daemon, "#echo " + "x" * 300_000, state_webhook_url=receiver.url, webhook_events=["done"])
        until(lambda: receiver.of(job))
    payload = receiver.got[0].payload
    (artifact,) = payload["artifacts"]
    assert artifact["size"] > 300_000
    assert artifact["url"] == f"/jobs/{job}/artifacts/completion"
    assert "data" not in artifact
    assert payload["result"] is None
    assert len(daemon.http.get(artifact["url"]).content) == artifact["size"]


def test_foremans_own_verifier_takes_what_foreman_sends_and_nothing_else(daemon: Daemon) -> None:
    with a_receiver() as receiver:
        job = submit(daemon, state_webhook_url=receiver.url, webhook_events=["queued"])
        until(lambda: receiver.of(job))
    got = receiver.got[0]
    assert verify_webhook(got.body, got.headers, SECRET).job_id == job
    with pytest.raises(SignatureInvalid):
        verify_webhook(got.body.replace(b"queued", b"failed"), got.headers, SECRET)
    with pytest.raises(SignatureInvalid):
        verify_webhook(got.body, got.headers, "another secret")
    plain = {"X-Foreman-Signature": got.headers["x-foreman-signature"]}
    with pytest.raises(SignatureInvalid):  # it could be of any time
        verify_webhook(got.body, plain, SECRET)


@pytest.mark.parametrize("stamp", ["", "now", "-1", "²", "9" * 400, "9" * 5000])
def test_a_time_that_is_none_is_no_more_than_a_bad_signature(stamp: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify_webhook(b"{}", {"webhook-signature": "v1,x", "webhook-timestamp": stamp}, SECRET)


def test_each_of_several_secrets_verifies_while_they_are_rotated(upstream: Upstream, tmp_path: Path) -> None:
    fresh = "whsec_" + base64.b64encode(b"the next key for signing").decode()
    settings = QUICK | {"webhook_secret": f"{fresh},{SECRET}"}
    with a_receiver() as receiver, Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon:
        submit(daemon, state_webhook_url=receiver.url, webhook_events=["queued"])
        until(lambda: receiver.got)
    assert verified(receiver.got[0], fresh, SECRET)["state"] == "queued"
