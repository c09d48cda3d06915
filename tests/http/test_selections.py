"""POST /jobs/cancel, /jobs/retry and /jobs/delete: one action on all jobs that filters select."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.conftest import Api
from tests.support.foreman import until

pytestmark = pytest.mark.every_store

Fresh = Callable[..., Api]
LATER = "2099-01-01T00:00:00Z"


def some(api: Api, count: int, **fields: Any) -> None:
    """Store jobs that wait for a day that does not come."""
    line = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "not_before": LATER, **fields}
    body = b"".join(json.dumps({**line, "custom_id": f"c{number}"}).encode() + b"\n" for number in range(count))
    answer = api.http.post("/jobs", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 202, answer.text


def act(api: Api, verb: str, token: str = "", **filters: str) -> list[int]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = api.http.post(f"/jobs/{verb}", params=filters, headers=headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return [told["matched"], told["done"], told["skipped"]]


def waiting(api: Api) -> int:
    return int(api.http.get("/queue").json()["queued"])


def test_the_first_in_the_line_get_what_room_there_is(fresh: Fresh) -> None:
    api = fresh(max_queue=1500)
    some(api, 1500)
    cancelled = api.http.post("/jobs/cancel", params={"state": "queued"}).json()  # in two steps
    some(api, 1400, model="b")
    assert act(api, "uncancel", changes=cancelled["changes"]) == [1500, 100, 1400]
    back = api.http.get("/jobs", params={"state": "queued", "model": "a", "limit": "100"}).json()["jobs"]
    assert {job["custom_id"] for job in back} == {f"c{number}" for number in range(100)}


def test_jobs_are_cancelled_retried_and_deleted_by_filter(fresh: Fresh) -> None:
    api = fresh()
    some(api, 2500)
    some(api, 3, model="b", priority="high")
    done = api.submit("hello", "b")
    api.until_state("done", done)
    assert act(api, "cancel", model="a", dry_run="true") == [2500, 0, 0]
    assert waiting(api) == 2503
    assert act(api, "cancel", model="a") == [2500, 2500, 0]  # in three steps
    assert (waiting(api), act(api, "cancel", model="a")) == (3, [2500, 0, 2500])
    assert act(api, "cancel", model="b", dry_run="true") == [4, 0, 1]
    assert act(api, "cancel", model="b") == [4, 3, 1]
    assert act(api, "cancel", state="done") == [1, 0, 1]
    assert act(api, "retry", priority="high", state="cancelled") == [3, 3, 0]
    assert act(api, "delete", state="cancelled", custom_id="c24*") == [111, 111, 0]
    assert act(api, "delete", model="a", created_after="2001-01-01T00:00:00Z") == [2389, 2389, 0]
    until(lambda: len(api.http.get("/jobs", params={"state": "done"}).json()["jobs"]) == 4)
    assert act(api, "delete", state="done", priority="normal") == [1, 1, 0]
    assert api.http.get(f"/jobs/{done}").status_code == 404
    assert act(api, "delete", model="b") == [3, 3, 0]
    assert api.http.get("/jobs").json()["jobs"] == []


def test_running_jobs_are_cut_off(fresh: Fresh) -> None:
    api = fresh(slots=2)
    ids = [api.submit("#silent") for _ in range(3)]
    until(lambda: len(api.http.get("/queue").json()["running"]) == 2)
    assert act(api, "cancel", state="loading,working,queued") == [3, 3, 0]
    assert [api.states(job_id)[-1] for job_id in ids] == ["cancelled"] * 3
    until(lambda: api.http.get("/queue").json()["running"] == [])


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
@pytest.mark.parametrize("query", ["", "dry_run=true", "colour=red", "state=odd", "state=queued&dry_run=1", "limit=5"])
def test_a_request_without_a_filter_or_with_a_bad_one_is_refused(api: Api, verb: str, query: str) -> None:
    refused = api.http.post(f"/jobs/{verb}?{query}")
    assert (refused.status_code, refused.json()["code"]) == (422, "field_invalid")
    if query in ("", "dry_run=true"):
        assert refused.json()["error"].startswith("query: must have at least one of id, custom_id, state")


@pytest.mark.parametrize("private", [True, False])
def test_others_jobs_are_left_alone(fresh: Fresh, private: bool) -> None:
    api = fresh(token="alice:one,bob:two", admin_token="boss", private_jobs=private)
    for token in ("one", "two", "two"):
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "not_before": LATER}
        headers = {"Authorization": f"Bearer {token}"}
        assert api.http.post("/jobs", json=body, headers=headers).status_code == 202
    assert act(api, "cancel", "one", model="a", dry_run="true") == ([1, 0, 0] if private else [3, 0, 2])
    assert act(api, "cancel", "one", model="a") == ([1, 1, 0] if private else [3, 1, 2])
    assert act(api, "cancel", "one", caller="bob") == ([0, 0, 0] if private else [2, 0, 2])
    assert act(api, "cancel", "boss", model="a") == [3, 2, 1]


def test_retried_jobs_count_for_the_rate(fresh: Fresh) -> None:
    api = fresh(rate=4)
    some(api, 3)
    assert act(api, "cancel", model="a") == [3, 3, 0]
    assert act(api, "retry", model="a") == [3, 1, 2]
    refused = api.http.post("/jobs/retry?state=cancelled")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


def test_a_cancel_of_many_is_taken_back_for_what_was_queued(fresh: Fresh) -> None:
    api = fresh()
    api.submit("#silent")
    until(lambda: len(api.http.get("/queue").json()["running"]) == 1)
    some(api, 2100)
    some(api, 1, model="b")
    assert act(api, "cancel", model="b") == [1, 1, 0]  # before, by somebody else
    before = {job["job_id"]: job for job in listed(api, "queued")}
    cancelled = api.http.post("/jobs/cancel?model=a&state=queued,working").json()
    assert (cancelled["done"], listed(api, "queued")) == (2101, [])
    answer = api.http.post("/jobs/uncancel", params={"changes": cancelled["changes"]})
    assert answer.json() == {"matched": 2100, "done": 2100, "skipped": 0}
    assert {job["job_id"]: job for job in listed(api, "queued")} == before
    again = api.http.post("/jobs/uncancel", params={"changes": cancelled["changes"]})
    assert again.json() == {"matched": 2100, "done": 0, "skipped": 2100}
    running = api.submit("#silent two")
    api.until_state("working", running)
    assert api.http.post(f"/jobs/cancel?id={running}").json()["changes"] is None
    assert api.http.post("/jobs/cancel?model=c").json() == {"matched": 0, "done": 0, "skipped": 0, "changes": None}


def listed(api: Api, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = api.http.get("/jobs", params={"state": state, "limit": "500", **after}).json()
        found += page["jobs"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


@pytest.mark.parametrize("query", ["", "changes=", "changes=5-1", "changes=1-200000", "changes=1-2;3", "state=queued"])
def test_changes_that_no_cancel_has_told_are_refused(api: Api, query: str) -> None:
    refused = api.http.post(f"/jobs/uncancel?{query}")
    assert (refused.status_code, refused.json()["code"]) == (422, "field_invalid")


def test_others_cancels_are_not_taken_back(fresh: Fresh) -> None:
    api = fresh(token="alice:one,bob:two", admin_token="boss", private_jobs=True)
    headers = {"Authorization": "Bearer two"}
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "not_before": LATER}
    job_id = api.http.post("/jobs", json=body, headers=headers).json()["job_id"]
    changes = api.http.post("/jobs/cancel?model=a", headers=headers).json()["changes"]
    assert act(api, "uncancel", "one", changes=changes) == [0, 0, 0]
    assert act(api, "uncancel", "two", changes=changes) == [1, 1, 0]
    cancelled = api.http.post(f"/jobs/{job_id}/cancel", headers=headers).json()
    assert api.http.post(f"/jobs/{job_id}/uncancel", headers={"Authorization": "Bearer one"}).status_code == 404
    back = api.http.post(f"/jobs/{job_id}/uncancel", headers=headers).json()
    assert (cancelled["state"], back["state"]) == ("cancelled", "queued") and back["not_before"].startswith(
        "2099-01-01"
    )
    assert api.http.post(f"/jobs/{job_id}/uncancel", headers=headers).json()["code"] == "illegal_step"


def test_jobs_are_found_by_empty_metadata_of_any_name(fresh: Fresh) -> None:
    api = fresh()
    for name in ("NAME", "name"):
        some(api, 1, metadata={name: ""})
        some(api, 1, metadata={name: "x"})
        found = api.http.get("/jobs", params={f"metadata.{name}": ""})
        assert found.status_code == 200, found.text
        assert [job["metadata"] for job in found.json()["jobs"]] == [{name: ""}]
