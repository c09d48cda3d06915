"""Quotas of tokens over HTTP, and the warning of a `start_by` that cannot be met."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.http.conftest import Api
from tests.support.api import chat

Fresh = Callable[..., Api]
CALL = {"model": "a", "messages": [{"role": "user", "content": "x"}], "stream": False, "max_tokens": 9}
TOKENS = "alice:one,bob:two"


@contextmanager
def as_caller(api: Api, secret: str) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.Client(base_url=api.daemon.url, trust_env=False, headers=headers, timeout=30) as http:
        yield http


def refused(answer: httpx2.Response) -> Any:
    assert answer.status_code == 429, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    return answer.json()


def test_a_full_quota_is_refused_in_the_shape_of_each_api_and_holds_nobody_else_up(fresh: Fresh) -> None:
    api = fresh(token=TOKENS, quotas=json.dumps({"alice": {"waiting": 1}}))
    with as_caller(api, "one") as alice, as_caller(api, "two") as bob:
        assert alice.post("/queue/pause").status_code == 200
        waiting = alice.post("/jobs", json=chat("x"))
        assert waiting.status_code == 202
        own = refused(alice.post("/jobs", json=chat("x")))
        assert own["code"] == "quota_exceeded"
        assert own["error"] == "alice has 1 waiting job, and the quota of this token allows 1"
        assert "the setting quotas may allow more" in own["hint"]
        assert refused(alice.post("/api/chat", json=CALL)) == {"error": own["error"]}
        error = refused(alice.post("/v1/chat/completions", json=CALL))["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "quota_exceeded")
        error = refused(alice.post("/v1/messages", json=CALL))
        assert (error["type"], error["error"]["type"]) == ("error", "rate_limit_error")
        assert bob.post("/jobs", json=chat("x")).status_code == 202
        assert alice.post("/queue/resume").status_code == 200
        assert alice.get(f"/jobs/{waiting.json()['job_id']}", headers={"Prefer": "wait=30"}).json()["state"] == "done"
        assert alice.post("/api/chat", json=CALL).status_code == 200


def test_of_many_lines_those_beyond_the_quota_are_told_by_number(fresh: Fresh) -> None:
    api = fresh(token=TOKENS, quotas=json.dumps({"alice": {"waiting": 2}}))
    line = json.dumps(chat("x", not_before="2090-01-01T00:00:00Z"))
    ndjson = {"Content-Type": "application/x-ndjson"}
    with as_caller(api, "one") as alice:
        answer = alice.post("/jobs", content=f"{line}\nno json\n{line}\n{line}\n{line}\n", headers=ndjson)
        told = answer.json()
        assert (answer.status_code, told["accepted"], told["rejected"]) == (202, 2, 3)
        assert [taken["line"] for taken in told["jobs"]] == [1, 3]
        codes = [(error["line"], error["code"]) for error in told["errors"]]
        assert codes == [(2, "invalid_json"), (4, "quota_exceeded"), (5, "quota_exceeded")]
        assert int(answer.headers["Retry-After"]) >= 1
        assert len(alice.get("/jobs").json()["jobs"]) == 2


def test_beyond_the_running_jobs_they_wait_and_say_why(fresh: Fresh) -> None:
    api = fresh(token=TOKENS, slots=2, quotas=json.dumps({"alice": {"running": 1}}))
    with as_caller(api, "one") as alice, as_caller(api, "two") as bob:
        running, waits = (alice.post("/jobs", json=chat(text)).json()["job_id"] for text in ("#slow=60", "x"))
        done = bob.post("/jobs", json=chat("x"), headers={"Prefer": "wait=30"}).json()
        assert done["state"] == "done"
        assert alice.get(f"/jobs/{waits}").json()["why"]["reason"] == "quota"
        assert alice.post(f"/jobs/{running}/cancel").status_code == 200
        assert alice.get(f"/jobs/{waits}", headers={"Prefer": "wait=30"}).json()["state"] == "done"


def test_used_up_tokens_refuse_that_token_only(fresh: Fresh) -> None:
    api = fresh(token=TOKENS, quotas=json.dumps({"alice": {"tokens_per_hour": 1}}))
    with as_caller(api, "one") as alice, as_caller(api, "two") as bob:
        assert alice.post("/api/chat", json=CALL).status_code == 200
        own = refused(alice.post("/jobs", json=chat("x")))
        assert own["code"] == "quota_exceeded" and "tokens in the last hour" in own["error"]
        assert bob.post("/api/chat", json=CALL).status_code == 200


def test_hanging_up_before_the_end_of_an_answer_does_not_save_its_tokens(fresh: Fresh) -> None:
    api = fresh(token=TOKENS, quotas=json.dumps({"alice": {"tokens_per_hour": 1}}))
    call = {"model": "a", "messages": [{"role": "user", "content": "#chunks=9 #stall"}]}
    with as_caller(api, "one") as alice:
        with alice.stream("POST", "/api/chat", json=call) as answer:
            next(answer.iter_lines())
        for _ in range(300):
            if (told := alice.get("/me").json()["quotas"]["tokens_per_hour"])["used"]:
                break
            time.sleep(0.1)
        assert told["used"] >= 1
        assert refused(alice.post("/api/chat", json=CALL))


def test_a_start_by_that_cannot_be_met_comes_with_a_warning(fresh: Fresh) -> None:
    api = fresh()
    soon = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    unknown = api.post(start_by=soon)
    assert unknown.json()["warning"] is None
    api.ended(unknown.json()["job_id"])
    api.ended(api.submit("#slow=1"))
    running = api.submit("#slow=60")
    api.until_state("working", running)
    assert api.post(start_by="2090-01-01T00:00:00Z").json()["warning"] is None
    for _ in range(60):
        api.submit()
    late = api.post(start_by=(datetime.now(UTC) + timedelta(seconds=2)).isoformat()).json()
    assert late["warning"].startswith("it will not start by the time given in start_by: by the forecast")
    assert api.post().json()["warning"] is None
