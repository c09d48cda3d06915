"""Those who wait: many at once, those who leave, those who keep their job, and a Foreman that dies under them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.http.compat.conftest import Front
from tests.support.foreman import Daemon, Upstream, an_upstream, managed, until


def chat(text: str, model: str = "a", **fields: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def lines(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


def test_fifty_callers_on_two_models_get_each_its_own_answer_for_two_loads(serve: Callable[..., Daemon]) -> None:
    daemon = serve(models=managed("a", "b"))
    daemon.http.post("/api/chat", json=chat("", "a", messages=[]))

    def call(number: int) -> str:
        text = f"#echo number {number}"
        asked = chat(text, "ab"[number % 2], stream=number % 3 == 0)
        answer = http.post("/api/chat", json=asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Foreman-Job-Id"]
        return "".join(line["message"]["content"] for line in lines(answer))

    with daemon.client() as http, ThreadPoolExecutor(50) as pool:
        held = daemon.http.post("/jobs", json=chat("#silent", "a")).json()["job_id"]
        until(lambda: daemon.http.get("/queue").json()["running"])
        callers = list(map(pool.submit, [call] * 49, range(1, 50)))
        waiting = until(lambda: queue if (queue := daemon.http.get("/queue").json())["queued"] == 49 else {})
        assert {model: sum(lane.values()) for model, lane in waiting["by_model"].items()} == {"a": 24, "b": 25}
        query = "/jobs?state=queued&limit=100"  # what is on disk; the queue counts what is about to be
        listed = until(lambda: jobs if len(jobs := daemon.http.get(query).json()["jobs"]) == 49 else [])
        places = [daemon.http.get(f"/jobs/{job['job_id']}").json()["queue_position"] for job in listed]
        assert sorted(places) == list(range(1, 50))
        assert all(job["model"] == "a" for job, place in zip(listed, places, strict=True) if place <= 24)
        daemon.http.post(f"/jobs/{held}/cancel")
        answers = [caller.result() for caller in callers]
    assert [int(answer.split()[-1]) for answer in answers] == list(range(1, 50))
    starts = [(daemon.data_dir / "logs" / f"{model}.log").read_text().count('"port"') for model in "ab"]
    assert starts == [1, 1]
    jobs = daemon.http.get("/jobs", params={"limit": 100}).json()["jobs"]
    assert {job["state"] for job in jobs if job["job_id"] != held} == {"done"} and len(jobs) == 51


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("text", ["#every=0.05 #chunks=1000", "#silent"])
def test_a_caller_who_leaves_cancels_the_job(
    serve: Callable[..., Daemon], upstream: Upstream, path: str, text: str
) -> None:
    front = Front(serve(ollama_url=upstream.url))
    with front.daemon.client() as http, http.stream("POST", path, json=chat(text, stream=True)) as answer:
        if "every" in text:
            next(answer.iter_lines())
    job = front.ended(answer.headers["X-Foreman-Job-Id"])
    assert job["state"] == "cancelled"
    log = until(lambda: log if (log := upstream.log()).get("closed_early", 0) + log.get("broken", 0) else {})
    assert text in json.dumps(log["requests"])


def test_a_caller_who_leaves_before_the_head_cancels_the_job(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    front = Front(serve(ollama_url=upstream.url))
    with front.daemon.client() as http, pytest.raises(httpx2.ReadTimeout):
        http.post("/api/chat", json=chat("#silent", stream=False), timeout=0.5)
    assert front.ended(front.newest())["state"] == "cancelled"


def test_a_caller_who_leaves_the_queue_takes_its_job_along(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    front = Front(serve(ollama_url=upstream.url))
    with front.daemon.client() as http, http.stream("POST", "/api/chat", json=chat("#silent")):
        until(lambda: upstream.asked("#silent"))
        with front.daemon.client() as other, other.stream("POST", "/api/chat", json=chat("behind")) as answer:
            assert answer.headers["X-Foreman-Queue-Position"] == "1"
        assert front.ended(answer.headers["X-Foreman-Job-Id"])["state"] == "cancelled"
    assert upstream.asked("behind") == []


def test_a_job_that_is_to_be_kept_goes_on_without_its_caller(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    front = Front(serve(ollama_url=upstream.url))
    asked, keep = chat("#every=0.02 #chunks=20"), {"X-Foreman-On-Disconnect": "keep"}
    with front.daemon.client() as http, http.stream("POST", "/api/chat", json=asked, headers=keep) as answer:
        next(answer.iter_lines())
    job = front.ended(answer.headers["X-Foreman-Job-Id"])
    assert job["state"] == "done" and job["result"]["message"]["content"].endswith("w19 ")


def test_a_foreman_that_is_killed_runs_the_job_when_it_is_back(
    serve: Callable[..., Daemon], upstream: Upstream
) -> None:
    daemon = serve(ollama_url=upstream.url, retry_backoff=0.05)
    with daemon.client() as http, http.stream("POST", "/api/chat", json=chat("#slow=2 #echo still here")) as answer:
        until(lambda: upstream.asked("still here"))
        daemon.kill()
        with pytest.raises(httpx2.TransportError):
            answer.read()
    front = Front(daemon.start())
    job = front.ended(answer.headers["X-Foreman-Job-Id"])
    assert (job["state"], job["attempt"]) == ("done", 2)
    assert job["result"]["message"]["content"].endswith("still here ")


def test_a_foreman_that_stops_keeps_what_callers_wait_for(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    daemon = serve(ollama_url=upstream.url, shutdown_grace=1)
    with daemon.client() as http, http.stream("POST", "/api/chat", json=chat("#slow=3 #echo still here")) as answer:
        until(lambda: upstream.asked("still here"))
        daemon.terminate()
        until(lambda: daemon.http.get("/readyz").status_code == 503)
        refused = daemon.http.post("/api/chat", json=chat("too late"))
        assert (refused.status_code, refused.json()) == (503, {"error": "foreman is shutting down"})
        assert refused.headers["Retry-After"] == "5"
        with pytest.raises(httpx2.TransportError):
            answer.read()
        assert daemon.wait() == 0
    front = Front(daemon.start())
    assert front.ended(answer.headers["X-Foreman-Job-Id"])["state"] == "done"


def test_text_that_was_sent_is_never_sent_again(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    front = Front(serve(ollama_url=upstream.url, retry_backoff=0.05))
    native = front.http.post("/api/chat", json=chat("#break=1 native"))
    first, last = lines(native)
    assert first["message"]["content"] == "w0 " and "attempt 2 would start" in last["error"]
    assert front.ended(native.headers["X-Foreman-Job-Id"])["state"] == "done"
    sse = front.http.post("/v1/chat/completions", json=chat("#break=1 sse", stream=True)).text
    assert sse.count('"w0 "') == 1 and '"code":"stream_broken"' in sse and "[DONE]" not in sse
    whole = front.http.post("/api/chat", json=chat("#break=2 whole", stream=False))
    assert whole.json()["message"]["content"] == "w0 w1 w2 "
    assert front.job(whole.headers["X-Foreman-Job-Id"])["attempt"] == 3
