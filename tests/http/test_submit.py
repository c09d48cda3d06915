"""POST /jobs, and what becomes of the job."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.http.conftest import Api
from tests.support.foreman import until

FIELDS = {
    "job_id",
    "state",
    "model",
    "created_at",
    "started_at",
    "completed_at",
    "attempt",
    "result",
    "error",
    "artifacts",
    "endpoint",
    "priority",
    "max_attempts",
    "metadata",
    "custom_id",
    "queue_position",
    "eta_seconds",
    "expires_at",
    "links",
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_a_job_is_accepted_and_says_where_to_look(api: Api) -> None:
    response = api.post("hello")
    said = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == said["links"]["self"] == f"/jobs/{said['job_id']}"
    assert (said["state"], said["queue_position"]) == ("queued", 1)
    assert set(said["links"]) == {"self", "events", "stream", "cancel"}
    assert api.ended(said["job_id"])["state"] == "done"


@pytest.mark.every_store
def test_a_finished_job_has_its_answer_and_all_its_fields(api: Api) -> None:
    job = api.ended(api.submit("#chunks=4", metadata={"k": "v"}, custom_id="mine", priority="low", max_attempts=5))
    assert set(job) >= FIELDS
    assert (job["state"], job["attempt"], job["error"], job["queue_position"]) == ("done", 1, None, None)
    assert (job["metadata"], job["custom_id"], job["priority"], job["max_attempts"]) == ({"k": "v"}, "mine", "low", 5)
    assert job["result"]["message"]["content"] == "w0 w1 w2 w3 "
    assert job["result"]["done"] is True
    for time in ("created_at", "started_at", "completed_at", "expires_at"):
        assert RFC_3339.fullmatch(job[time]), time
    [completion] = job["artifacts"]
    assert (completion["name"], completion["content_type"]) == ("completion", "application/json")
    assert json.loads(completion["data"]) == job["result"]
    assert completion["size"] == len(completion["data"].encode())
    told = job["usage"]
    assert told["answer_tokens"] == job["result"]["eval_count"] and told["prompt_tokens"] > 0
    assert 0 <= told["first_token_seconds"] < 60
    [listed] = api.http.get("/jobs", params={"id": job["job_id"]}).json()["jobs"]
    assert (listed["prompt_excerpt"], listed["usage"]) == (job["prompt_excerpt"], told)
    assert job["prompt_excerpt"] == "#chunks=4"


@pytest.mark.every_store
def test_a_job_not_yet_started_has_null_where_nothing_is_known(api: Api) -> None:
    job_id = api.submit("later", not_before="2090-01-01T00:00:00Z")
    job = api.job(job_id)
    assert (job["state"], job["attempt"], job["artifacts"]) == ("queued", 0, [])
    assert [job[name] for name in ("started_at", "completed_at", "result", "error", "usage")] == [None] * 5
    assert job["prompt_excerpt"] == "later"
    assert api.http.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_the_payload_reaches_the_target_as_it_was_without_our_fields(api: Api) -> None:
    body = (
        '{"model":"a","messages":[{"role":"user","content":"unharmed Grüße 🦙"}],"priority":"high",'
        '"unknown":{"z":1.50,"a":12345678901234567890123},"metadata":{"k":"v"},"options":{"temperature":1e-7}}'
    )
    response = api.http.post("/jobs", content=body.encode(), headers={"Content-Type": "application/json"})
    api.ended(response.json()["job_id"])
    [request] = api.upstream.asked("unharmed")
    payload = request["payload"]
    assert request["path"] == "/api/chat"
    assert (payload["unknown"], payload["options"]) == ({"z": 1.5, "a": 12345678901234567890123}, {"temperature": 1e-7})
    assert not {"priority", "metadata"} & set(payload)
    assert list(payload)[:4] == ["model", "messages", "unknown", "options"]


@pytest.mark.parametrize("endpoint", ["/api/chat", "/api/generate", "/api/embed"])
def test_a_job_goes_to_the_endpoint_it_names(api: Api, endpoint: str) -> None:
    job = api.ended(api.submit("x", endpoint=endpoint, prompt="go", input="go"))
    assert (job["state"], job["endpoint"]) == ("done", endpoint)
    assert {"/api/chat": "message", "/api/generate": "response", "/api/embed": "embeddings"}[endpoint] in job["result"]


@pytest.mark.every_store
def test_the_same_idempotency_key_and_body_give_the_same_answer(api: Api) -> None:
    key = {"Idempotency-Key": "the-same"}
    first, again = api.post("once", headers=key), api.post("once", headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["job_id"] == again.json()["job_id"]
    other = api.post("another", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    api.ended(first.json()["job_id"])
    assert len(api.upstream.asked('"once"')) == 1


def test_a_body_beyond_the_limit_is_refused(api: Api) -> None:
    response = api.post("y" * 2**20)
    assert response.status_code == 413
    assert response.json() == {
        "error": "the request body is larger than 1048576 bytes",
        "code": "body_too_large",
        "hint": "the setting max_body raises the limit",
    }


def test_an_endless_body_without_a_length_is_cut_off(api: Api) -> None:
    response = api.http.post(
        "/jobs", content=(b"x" * 65536 for _ in range(64)), headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.every_store
def test_a_full_queue_is_said_with_a_time_to_come_back(fresh: Any) -> None:
    api = fresh(max_queue=1)
    running = api.submit("#silent")
    api.until_state("working", running)
    waiting = api.submit("waits")
    refused = api.post("too much")
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    api.http.post(f"/jobs/{running}/cancel")
    assert api.ended(waiting)["state"] == "done"
    assert api.submit("there is room")


@pytest.mark.every_store
def test_jobs_are_listed_newest_first_in_pages(fresh: Any) -> None:
    api = fresh()
    ids = [api.submit(f"{n}", "ab"[n % 2], priority="low") for n in range(5)]
    for job_id in ids:
        api.ended(job_id)
    first = api.http.get("/jobs", params={"limit": 2}).json()
    rest = api.http.get("/jobs", params={"limit": 9, "after": first["next"]}).json()
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == ids[::-1]
    assert rest["next"] is None
    assert all("result" not in job for job in first["jobs"])
    only_a = api.http.get("/jobs", params={"model": "a", "state": "done", "priority": "low"}).json()["jobs"]
    assert [job["job_id"] for job in only_a] == ids[::2][::-1]
    assert api.http.get("/jobs", params={"state": "failed"}).json() == {"jobs": [], "next": None}


@pytest.mark.every_store
def test_cancelling_closes_the_call_to_the_target(fresh: Any) -> None:
    api = fresh()
    job_id = api.submit("#silent")
    api.until_state("working", job_id)
    before = api.upstream.log().get("closed_early", 0)
    assert api.http.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    until(lambda: api.upstream.log().get("closed_early", 0) == before + 1)
    assert api.http.post(f"/jobs/{job_id}/cancel").status_code == 200
    done = api.submit("x")
    api.ended(done)
    assert api.http.post(f"/jobs/{done}/cancel").status_code == 409
