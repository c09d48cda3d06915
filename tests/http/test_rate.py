"""How many jobs and calls a caller may send a minute."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

from tests.http.conftest import Api
from tests.support.api import chat

Fresh = Callable[..., Api]
CALLS = {"model": "a", "messages": [{"role": "user", "content": "x"}], "stream": False}
PROMPT = {"model": "a", "prompt": "x", "stream": False}
INPUT = {"model": "a", "input": "x"}


def refused(answer: httpx2.Response) -> Any:
    assert answer.status_code == 429, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return answer.json()


def test_beyond_the_rate_each_api_refuses_in_its_own_shape(fresh: Fresh) -> None:
    api = fresh(rate=1, rate_burst=2)
    for _ in range(2):
        assert api.post("x").status_code == 202
        for path in ("/jobs", "/queue", "/usage", "/v1/models", "/api/tags", "/healthz"):  # what only looks is free
            assert api.http.get(path).status_code == 200
    own = refused(api.post("x"))
    assert (own["code"], own["error"]) == (
        "rate_limited",
        "a caller may send 1 jobs and calls a minute, and this one has",
    )
    assert "the settings rate and rate_burst" in own["hint"]
    for path, asked in (("chat", CALLS), ("generate", PROMPT), ("embed", INPUT), ("embeddings", PROMPT)):
        assert refused(api.http.post(f"/api/{path}", json=asked)) == {"error": own["error"]}
    for path, asked in (
        ("chat/completions", CALLS),
        ("completions", PROMPT),
        ("responses", INPUT),
        ("responses/input_tokens", INPUT),
        ("embeddings", INPUT),
    ):
        error = refused(api.http.post(f"/v1/{path}", json=asked))["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limited"), path
    for path in ("messages", "messages/count_tokens"):
        told = refused(api.http.post(f"/v1/{path}", json=CALLS))
        assert (told["type"], told["error"]["type"]) == ("error", "rate_limit_error")
    refused(api.http.post("/v1/of-a-newer-ollama", json=CALLS))
    assert len(api.http.get("/jobs").json()["jobs"]) == 2
    assert len(api.upstream.asked("x")) <= 2  # of what was refused the target never heard


def test_every_caller_has_a_rate_of_its_own(fresh: Fresh) -> None:
    api = fresh(rate=1, token="alice:one,bob:two", admin_token="boss")
    with httpx2.Client(base_url=api.daemon.url, trust_env=False) as http:
        for bearer in ("one", "two", "boss"):
            told = [
                http.post("/jobs", json=chat("x"), headers={"Authorization": f"Bearer {sent}"}).status_code
                for sent in (bearer, f"alice:{bearer}" if bearer == "one" else bearer)
            ]
            assert told == [202, 429], bearer


def test_of_many_lines_those_that_are_too_many_are_told_by_number(fresh: Fresh) -> None:
    api = fresh(rate=1, rate_burst=3)
    ndjson = {"Content-Type": "application/x-ndjson"}
    line = json.dumps(chat("x", not_before="2090-01-01T00:00:00Z"))
    answer = api.http.post("/jobs", content=f"{line}\n\nno json\n{line}\n{line}\n{line}\n", headers=ndjson)
    told = answer.json()
    assert (answer.status_code, told["accepted"], told["rejected"]) == (202, 2, 3)
    assert [taken["line"] for taken in told["jobs"]] == [1, 4]
    codes = [(error["line"], error["code"]) for error in told["errors"]]
    assert codes == [(3, "invalid_json"), (5, "rate_limited"), (6, "rate_limited")]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    none = api.http.post("/jobs", content=line, headers=ndjson)
    assert (none.status_code, none.json()["errors"][0]["code"]) == (422, "rate_limited")
    assert 1 <= int(none.headers["Retry-After"]) <= 60
    assert len(api.http.get("/jobs").json()["jobs"]) == 2


def test_a_retry_counts_like_a_new_job(fresh: Fresh) -> None:
    api = fresh(rate=1, rate_burst=2)
    assert api.http.post("/queue/pause").status_code == 200  # else what is retried may end before it is cancelled
    job_id = api.submit("x")
    told = []
    for _ in range(3):
        assert api.http.post(f"/jobs/{job_id}/cancel").status_code == 200
        told.append(api.http.post(f"/jobs/{job_id}/retry").status_code)
    assert told == [200, 429, 429]
