"""Counting tokens by managed models: beside jobs, and by one that does not come up."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Break
from tests.support.api import chat, job, state, submit
from tests.support.foreman import managed, until

PATHS = ["/v1/messages/count_tokens", "/v1/responses/input_tokens"]


@pytest.mark.parametrize("path", PATHS)
def test_counting_unloads_nothing_that_jobs_need(serve: Break, path: str) -> None:
    daemon = serve("counted", ollama_url="", models=managed("a", "b"), slots=1)
    running, waiting = submit(daemon, "#every=0.05 #chunks=20"), submit(daemon, "#every=0.01")
    until(lambda: state(daemon, running) == "working")
    refused = daemon.http.post(path, json=chat("x", "b"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "b is not loaded" in refused.text and "target_busy" in refused.text
    assert daemon.http.get("/queue").json()["resident"] == "a"
    assert "not_served" in daemon.http.post(path, json=chat("x", "a")).text  # it was asked
    until(lambda: state(daemon, waiting) == "done")
    assert [job(daemon, one)["attempt"] for one in (running, waiting)] == [1, 1]
    assert 'foreman_loads_total{model="a"} 1.0' in daemon.http.get("/metrics").text
    assert "not_served" in daemon.http.post(path, json=chat("x", "b")).text  # with nothing to do it may be loaded


@pytest.mark.parametrize("path", PATHS)
def test_counting_has_a_deadline_loading_included(serve: Break, path: str) -> None:
    hung = managed("h")
    hung[0]["command"] = [*hung[0]["command"], "--never-ready"]  # type: ignore[misc]
    daemon = serve("hasty", ollama_url="", models=hung)
    answer = daemon.http.post(path, json=chat("x", "h"))
    assert answer.status_code == 504 and "attempt_timeout" in answer.text
