"""What goes wrong, in the words and with the status that clients of each dialect understand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.http.compat.conftest import Front
from tests.http.compat.test_callers import chat, lines
from tests.support.foreman import Daemon, Upstream, an_upstream, until

BUSY = "server busy, please try again.  maximum pending requests exceeded"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


def test_a_targets_refusal_keeps_its_status_and_words(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    front = Front(serve(ollama_url=upstream.url, max_attempts=1))
    for stream in (False, True):
        refused = front.http.post("/api/chat", json=chat("#status=400", stream=stream))
        assert (refused.status_code, refused.json()) == (400, {"error": "told to by #status=400"})
        assert front.ended(refused.headers["X-Foreman-Job-Id"])["state"] == "failed"
    broken = front.http.post("/v1/chat/completions", json=chat("#status=500"))
    assert broken.status_code == 500 and broken.headers["X-Should-Retry"] == "false"
    assert broken.json()["error"]["message"] == "told to by #status=500"
    failed = front.http.post("/v1/chat/completions", json=chat("#status=502"))
    assert failed.status_code == 502 and failed.json()["error"]["type"] == "server_error"
    assert "X-Should-Retry" not in failed.headers
    late = lines(front.http.post("/api/chat", json=chat("#error")))
    assert late[0]["message"]["content"] == "w0 " and "it fell over" in late[-1]["error"]
    late_sse = front.http.post("/v1/messages", json=chat("#error", stream=True)).text
    name, data = late_sse.strip().split("\n\n")[-1].split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "api_error"


def test_a_full_queue_is_told_with_a_time_to_come_again(serve: Callable[..., Daemon], upstream: Upstream) -> None:
    daemon = serve(ollama_url=upstream.url, max_queue=1)
    with daemon.client() as http, http.stream("POST", "/api/chat", json=chat("#silent")):
        until(lambda: upstream.asked("#silent"))
        with daemon.client() as other, other.stream("POST", "/api/chat", json=chat("waits")):
            native = daemon.http.post("/api/chat", json=chat("one too many"))
            assert (native.status_code, native.json()) == (503, {"error": BUSY})
            assert native.headers["Retry-After"] == "5"
            spoken = daemon.http.post("/v1/messages", json=chat("one too many"))
            assert spoken.status_code == 503 and spoken.json()["error"]["type"] == "overloaded_error"
            assert spoken.headers["Retry-After"] == "5" and "X-Should-Retry" not in spoken.headers


def test_known_models_wait_for_a_target_that_is_away_and_unknown_ones_do_not(serve: Callable[..., Daemon]) -> None:
    with an_upstream("--kind", "both", "--models", "a") as upstream, ThreadPoolExecutor() as pool:
        front = Front(serve(ollama_url=upstream.url))
        upstream.stop()
        waits = pool.submit(front.daemon.http.post, "/api/chat", json=chat("#echo patience", stream=False))
        until(lambda: front.http.get("/healthz").json()["degraded"])
        unknown = front.http.post("/api/chat", json=chat("x", "b"))
        assert unknown.status_code == 503 and "cannot ask the target for model 'b'" in unknown.json()["error"]
        assert int(unknown.headers["Retry-After"]) <= 120
        upstream.start()
        assert waits.result().json()["message"]["content"] == "#echo patience "


def test_an_unknown_model_is_looked_for_once_more(serve: Callable[..., Daemon]) -> None:
    with an_upstream("--kind", "both", "--models", "a") as upstream:
        daemon = serve(ollama_url=upstream.url)
        changed(upstream, "a,new")
        assert daemon.http.post("/api/chat", json=chat("#echo hi", "new", stream=False)).status_code == 200


def test_a_model_deleted_under_a_queued_job_fails_it_clearly(serve: Callable[..., Daemon]) -> None:
    with an_upstream("--kind", "both", "--models", "a,b") as upstream:
        front = Front(serve(ollama_url=upstream.url))
        front.http.post("/queue/pause")
        job_id = front.http.post("/jobs", json=chat("x", "b")).json()["job_id"]
        changed(upstream, "a")
        front.http.post("/queue/resume")
        job: Any = front.ended(job_id)
        assert (job["state"], job["error"], job["attempt"]) == ("failed", "model 'b' not found", 1)


def changed(upstream: Upstream, models: str) -> None:
    """The same server with other models."""
    upstream.stop()
    upstream._args = ("--kind", "both", "--models", models)
    upstream.start()
