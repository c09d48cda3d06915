"""Two servers behind one Foreman, as processes: who runs what, what it costs, and what becomes of it when one dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.jobs.conftest import together
from tests.support.api import chat, job, submit, submit_many, target_of
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
    return Counter(target_of(job) for job in done)


def test_one_of_two_servers_is_killed_in_the_middle_of_the_jobs(
    fleet: Daemon, servers: tuple[Upstream, Upstream]
) -> None:
    one, _ = servers
    ids = [submit(fleet, f"n{number} #slow=0.5 #echo", model="a") for number in range(40)]
    until(lambda: shares(fleet)["one"] >= 3 and shares(fleet)["two"] >= 3)
    one.stop()
    until(lambda: shares(fleet).total() == 40)
    for number, job_id in enumerate(ids):
        assert job(fleet, job_id)["result"]["message"]["content"].startswith(f"n{number} ")
        states = [event["state"] for event in fleet.http.get(f"/jobs/{job_id}/events").json()["events"]]
        assert (states.count("done"), states[-1]) == (1, "done")
    health = fleet.http.get("/healthz").json()
    assert health["degraded"] and "one" in health["target_error"]
    # What only the other one has waits for it, and runs there.
    lone = submit(fleet, "alone", model="c")
    before = shares(fleet)
    one.start()
    until(lambda: fleet.http.get(f"/jobs/{lone}").json()["state"] == "done")
    assert target_of(job(fleet, lone)) == "one"
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


def test_interleaved_jobs_of_four_models_cost_two_servers_few_loads(tmp_path: Path) -> None:
    with (
        an_upstream("--models", "a,b,c,d", "--load-time", "0.3") as one,
        an_upstream("--models", "a,b,c,d", "--load-time", "0.3") as two,
        Daemon(tmp_path / "data", ollama_url=f"{one.url},{two.url}") as daemon,
    ):
        submit_many(daemon, [chat(f"{number} #slow=0.03", model) for number in range(20) for model in "abcd"])
        until(lambda: shares(daemon).total() == 80)
        loads = [server.log()["loads"] for server in (one, two)]
        assert sum(sum(each.values()) for each in loads) <= 6
        assert min(shares(daemon).values()) >= 24 and len(shares(daemon)) == 2


def test_a_server_that_may_hold_two_models_works_on_both_at_once_and_one_that_may_not_never_does(
    tmp_path: Path,
) -> None:
    with (
        an_upstream("--kind", "ollama", "--models", "a,b", "--max-loaded", "2") as wide,
        an_upstream("--kind", "ollama", "--models", "c,d", "--max-loaded", "2") as narrow,
    ):
        targets = [
            {"name": "wide", "ollama_url": wide.url, "slots": 4, "max_loaded": 2},
            {"name": "narrow", "ollama_url": narrow.url, "slots": 4},
        ]
        with Daemon(tmp_path / "data", targets=targets) as daemon:
            submit_many(daemon, [chat(f"{number} #slow=0.1", model) for number in range(10) for model in "abcd"])
            until(lambda: shares(daemon).total() == 40)
            steps = [working for _, working in together(daemon)]
    assert {("wide", "a"), ("wide", "b")} in [{one for one in step if one[0] == "wide"} for step in steps]
    assert {("narrow", "c")} in [{one for one in step if one[0] == "narrow"} for step in steps]
    assert all(len({one for one in step if one[0] == "narrow"}) <= 1 for step in steps)
