"""Embeddings by a managed model that chats, while jobs run on another."""

from __future__ import annotations

import httpx2
import pytest

from tests.faults.conftest import Break
from tests.support.foreman import managed, until


def chat(api: httpx2.Client, model: str, text: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    job_id: str = api.post("/jobs", json=body).json()["job_id"]
    return job_id


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings"])
def test_embeddings_by_a_model_that_chats_wait_for_their_turn(serve: Break, path: str) -> None:
    daemon = serve("counted", ollama_url="", models=managed("a", "b"), slots=2)
    api = daemon.http
    running = [chat(api, "a", f"#every=0.05 #chunks=20 number {n}") for n in range(2)]
    until(lambda: [api.get(f"/jobs/{job}").json()["state"] for job in running] == ["working"] * 2)
    answer = api.post(path, json={"model": "b", "input": "x", "prompt": "x"})
    assert answer.status_code == 200 and "embedding" in answer.text
    told = api.get("/jobs?model=b").json()["jobs"]
    assert [(job["state"], job["endpoint"]) for job in told] == [
        ("done", path.replace("/api/embeddings", "/api/embed"))
    ]
    assert [api.get(f"/jobs/{job}").json()["attempt"] for job in running] == [1, 1]
    assert api.post(path, json={"model": "b", "input": "x", "prompt": "x"}).status_code == 200
    assert len(api.get("/jobs?model=b").json()["jobs"]) == 1  # it is loaded: no job is needed
