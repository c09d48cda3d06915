"""Two servers behind one Foreman, as processes; one of them is killed in the middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import chat, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, until


@pytest.fixture
def servers() -> Iterator[tuple[Upstream, Upstream]]:
    with an_upstream("--kind", "ollama") as one, an_upstream("--kind", "openai", "--models", "a,b") as two:
        yield one, two


@pytest.fixture
def fleet(tmp_path: Path, servers: tuple[Upstream, Upstream]) -> Iterator[Daemon]:
    one, two = servers
    targets = [
        {"name": "one", "ollama_url": one.url, "slots": 2},
        {"name": "two", "openai_url": two.url, "slots": 2},
    ]
    daemon = Daemon(tmp_path / "data", targets=targets, retry_backoff=0.1)
    try:
        yield daemon.start()
    finally:
        daemon.close()


def shares(daemon: Daemon) -> Counter[str]:
    done = daemon.http.get("/jobs", params={"state": "done", "limit": 500}).json()["jobs"]
    return Counter(job["target"] for job in done)


def test_one_of_two_servers_is_killed_in_the_middle_of_the_jobs(
    fleet: Daemon, servers: tuple[Upstream, Upstream]
) -> None:
    one, _ = servers
    ids = [submit(fleet, f"n{number} #slow=0.5", model="a") for number in range(40)]
    until(lambda: shares(fleet)["one"] >= 3 and shares(fleet)["two"] >= 3)
    one.stop()
    until(lambda: shares(fleet).total() == 40)
    assert len(set(ids)) == 40
    health = fleet.http.get("/healthz").json()
    assert health["degraded"] and "one" in health["target_error"]
    # What only the other one has waits for it, and runs there.
    lone = submit(fleet, "alone", model="c")
    before = shares(fleet)
    one.start()
    until(lambda: fleet.http.get(f"/jobs/{lone}").json()["state"] == "done")
    assert fleet.http.get(f"/jobs/{lone}").json()["target"] == "one"
    for number in range(20):
        submit(fleet, f"again {number} #slow=0.5", model="a")
    until(lambda: shares(fleet).total() == 61)
    later = shares(fleet) - before
    assert min(later["one"], later["two"]) >= 3


def test_both_servers_models_are_shown_as_one_list(fleet: Daemon) -> None:
    tags = [model["name"] for model in fleet.http.get("/api/tags").json()["models"]]
    assert sorted(tags) == ["a", "b", "c"]
    assert {model["id"] for model in fleet.http.get("/v1/models").json()["data"]} == set(tags)
    assert fleet.http.post("/api/chat", json=chat("x") | {"stream": False}).status_code == 200
    assert fleet.http.get("/queue").json()["slots"] == 4
