"""A real Foreman on the embedded engine, and one in front of it: whatever a client may ask, it may ask of both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.broken import Broken
from tests.support.foreman import Daemon, until
from tests.support.odd.server import OddServer

MODEL = "smollm2:135m"


class Front:
    """A Foreman as a client sees it, and the jobs that the client's calls have become."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.url = daemon.url
        self.http: httpx2.Client = daemon.http
        self.ids: list[str] = []  # of the jobs that answers told of, in their order

    def hook(self, response: Any) -> None:
        """To be called with every response by a client's own means."""
        if "x-foreman-job-id" in response.headers:
            self.ids.append(response.headers["x-foreman-job-id"])

    async def async_hook(self, response: Any) -> None:
        self.hook(response)

    def newest(self) -> str:
        """The id of the job that was made last."""
        return str(self.http.get("/jobs", params={"limit": 1}).json()["jobs"][0]["job_id"])

    def job(self, job_id: str | None = None) -> dict[str, Any]:
        """A job as it is shown; the last one that an answer told of if no id is given."""
        shown: dict[str, Any] = self.http.get(f"/jobs/{job_id or self.ids[-1]}").json()
        return shown

    def ended(self, job_id: str | None = None) -> dict[str, Any]:
        """A job once it has ended."""
        until(lambda: self.job(job_id)["completed_at"])
        return self.job(job_id)


@pytest.fixture(scope="session")
def _embedded(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("embedded") / "data", slots=2) as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture(scope="session")
def _chained(engine: str, _embedded: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("chained") / "data", slots=2, ollama_url=_embedded.url) as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture(params=["direct", "chained"])
def front(request: pytest.FixtureRequest) -> Front:
    """Foreman in front of the embedded engine, and Foreman in front of that Foreman."""
    return Front(request.getfixturevalue("_embedded" if request.param == "direct" else "_chained"))


@pytest.fixture(scope="session")
def odd_server() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture(scope="session")
def before_it(odd_server: OddServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Daemon]]:
    """A Foreman in front of the odd server, as a target of the kind that is given."""
    with ExitStack() as stack:

        @functools.cache
        def daemon(kind: str) -> Daemon:
            settings = {f"{kind}_url": odd_server.url, "retry_backoff": 0.01, "max_attempts": 2}
            made = Broken("dogged", tmp_path_factory.mktemp(kind) / "data", **settings)
            return stack.enter_context(made)

        yield daemon


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start Foremen with settings of a test's own."""
    started: list[Daemon] = []

    def start(**settings: object) -> Daemon:
        started.append(Daemon(tmp_path / f"data{len(started)}", **settings))
        return started[-1].start()

    yield start
    for daemon in started:
        daemon.close()
