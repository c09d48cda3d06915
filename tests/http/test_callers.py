"""Callers under a token: how they are named, shown, found and counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from foreman.domain.usage import MOST_GROUPS
from foreman.domain.views.service import ByCaller
from foreman.http.routes.service import by_name
from tests.http.conftest import Api

NAMES: dict[str, dict[str, Any]] = {
    "the header": {"headers": {"X-Foreman-Caller": "ann e"}, "user": "somebody else"},
    "user": {"user": "ann e"},
    "safety_identifier": {"safety_identifier": "ann e", "user": "somebody else"},
}


@pytest.mark.parametrize("named", NAMES.values(), ids=NAMES)
def test_a_caller_is_named_by_the_header_or_the_fields_of_the_servers_own_apis(api: Api, named: dict[str, Any]) -> None:
    job = api.job(api.post(**named).json()["job_id"])
    assert (job["caller"], job["owner"]) == ("ann e", None)
    assert job["job_id"] in [one["job_id"] for one in api.http.get("/jobs?caller=ann e").json()["jobs"]]


def test_a_caller_is_named_by_the_metadata_of_anthropics_api(api: Api) -> None:
    body = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = api.http.post("/v1/messages", json=body | {"metadata": {"user_id": "claude"}})
    assert api.job(answer.headers["X-Foreman-Job-Id"])["caller"] == "claude"


@pytest.mark.parametrize("odd", [7, None, "", "   ", {"a": 1}, ["x"]])
def test_a_field_that_is_no_name_names_nobody(api: Api, odd: object) -> None:
    assert api.job(api.post(user=odd).json()["job_id"])["caller"] is None


def test_a_long_name_in_a_field_becomes_its_digest(api: Api) -> None:
    caller = api.job(api.post(user="x" * 500).json()["job_id"])["caller"]
    assert len(caller) == 64 and int(caller, 16)


@pytest.mark.parametrize("wrong", [b"x" * 129, b"tab\there", b"uml\xe4ut"])
def test_a_header_that_is_no_name_is_refused(api: Api, wrong: bytes) -> None:
    answer = api.http.post("/jobs", content=b'{"model":"a"}', headers={b"X-Foreman-Caller": wrong})
    assert answer.status_code == 422 and "1 to 128 printable ASCII" in answer.json()["error"]


def test_waiting_and_running_jobs_are_counted_by_caller(api: Api) -> None:
    running = api.submit("#slow=60", user="ann")
    api.until_state("working", running)
    waiting = [api.submit(user="bob") for _ in range(2)]
    try:
        counted = api.http.get("/queue").json()["by_caller"]
        assert (counted["ann"], counted["bob"]) == ({"queued": 0, "running": 1}, {"queued": 2, "running": 0})
    finally:
        for job_id in (running, *waiting):
            api.http.post(f"/jobs/{job_id}/cancel")


def test_of_very_many_callers_those_with_the_most_jobs_are_told_apart() -> None:
    waiting = Counter({str(number): 1 for number in range(MOST_GROUPS + 2)} | {"ann": 3, "": 9})
    found = by_name(waiting, Counter({"7": 1, "bob": 2}))
    assert len(found) == MOST_GROUPS + 1
    assert (found["ann"], found["bob"], found["7"]) == (ByCaller(3, 0), ByCaller(0, 2), ByCaller(1, 1))
    assert found["other"] == ByCaller(4, 0)


def test_why_a_job_waits_is_said(api: Api) -> None:
    running = api.submit("#slow=60")
    api.until_state("working", running)
    first, second = api.submit(), api.submit()
    try:
        assert [api.job(one)["why"] and api.job(one)["why"]["reason"] for one in (running, first, second)] == [
            None,
            "slot",
            "age",
        ]
    finally:
        for job_id in (running, first, second):
            api.http.post(f"/jobs/{job_id}/cancel")
