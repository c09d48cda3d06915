"""Real Foremen before the scripted upstream: one shared by what leaves no trace, and fresh ones for the rest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from foreman.store.sqlite.writer import SqliteWriter
from tests.support.foreman import Daemon, Upstream, an_upstream, until
from tests.support.nodes import Nodes

IMPATIENT: dict[str, object] = {"retry_backoff": 0.05, "retry_backoff_max": 0.1}


class Api:
    """What callers do, in short."""

    def __init__(self, daemon: Daemon, upstream: Upstream) -> None:
        self.daemon = daemon
        self.upstream = upstream

    @property
    def http(self) -> httpx2.Client:
        return self.daemon.http

    def post(
        self, text: str = "hello", model: str = "a", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> Any:
        payload = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/jobs", json=payload, headers=headers)

    def submit(self, text: str = "hello", model: str = "a", **fields: Any) -> str:
        """The id of a job that was accepted."""
        response = self.post(text, model, **fields)
        assert response.status_code == 202, response.text
        return str(response.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        response = self.http.get(f"/jobs/{job_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended: its stream ends with it."""
        self.http.get(f"/jobs/{job_id}/stream")
        return self.job(job_id)

    def until_state(self, state: str, *job_ids: str) -> None:
        until(lambda: all(self.job(job_id)["state"] == state for job_id in job_ids))

    def states(self, job_id: str) -> list[str]:
        return [event["state"] for event in self.http.get(f"/jobs/{job_id}/events").json()["events"]]

    def lines(self, job_id: str) -> list[dict[str, Any]]:
        text = self.http.get(f"/jobs/{job_id}/stream").text
        return [json.loads(line) for line in text.splitlines()]

    def healthy(self) -> bool:
        return bool(self.http.get("/healthz").json()["status"] == "ok") and self.daemon.child.running


def words_in(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["message"]["content"] for chunk in chunks if "message" in chunk)


@pytest.fixture(scope="session")
def _shared(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with an_upstream("--kind", "ollama") as upstream:
        folder = tmp_path_factory.mktemp("shared") / "data"
        with Daemon(folder, ollama_url=upstream.url, max_body="1 MiB", **IMPATIENT) as daemon:
            yield Api(daemon, upstream)


@pytest.fixture
def api(_shared: Api) -> Iterator[Api]:
    """A Foreman that other tests use too: leave it healthy and idle."""
    before = len(_shared.daemon.errors)
    yield _shared
    assert _shared.daemon.errors[before:] == []
    assert _shared.healthy()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama") as upstream:
        yield upstream


@pytest.fixture
def fresh(data_dir: Path, upstream: Upstream) -> Iterator[Callable[..., Api]]:
    """Starts a Foreman of the test's own."""
    daemons: list[Daemon] = []

    def start(**settings: object) -> Api:
        targets = {} if "models" in settings else {"ollama_url": upstream.url}
        daemon = Daemon(data_dir, **(targets | IMPATIENT | settings))
        daemons.append(daemon)
        return Api(daemon.start(), upstream)

    yield start
    for daemon in daemons:
        errors = daemon.errors
        daemon.close()
        assert errors == []


@pytest.fixture
async def nodes(data_dir: Path) -> AsyncIterator[Nodes]:
    """Nodes of a fleet, in this process and over one store; none is started yet."""
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        async with trio.open_nursery() as nursery:
            with closing(Nodes(store, nursery)) as nodes:
                yield nodes
            nursery.cancel_scope.cancel()
