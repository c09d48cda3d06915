"""Foreman before targets that are away, break, refuse, or are of another kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.http.conftest import Api
from tests.support.foreman import Upstream, an_upstream, managed, until

Fresh = Callable[..., Api]


def test_while_the_target_is_away_jobs_wait_unspent_and_run_soon_after_its_return(fresh: Fresh) -> None:
    api = fresh()
    api.ended(api.submit("before"))
    api.upstream.stop()
    waiting = [api.submit(f"meanwhile {n}") for n in range(3)]
    until(lambda: api.http.get("/healthz").json()["degraded"])
    health = api.http.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert "cannot reach" in health.json()["target_error"]
    assert api.http.get("/queue").json()["degraded"] is True
    unknown = api.post("x", "never seen")
    assert (unknown.status_code, unknown.json()["code"]) == (503, "target_down")
    until(lambda: not api.http.get("/queue").json()["running"])
    assert [(job["state"], job["attempt"]) for job in map(api.job, waiting)] == [("queued", 0)] * 3
    api.upstream.start()
    assert [api.ended(job_id)["attempt"] for job_id in waiting] == [1, 1, 1]
    assert api.http.get("/healthz").json()["degraded"] is False


def test_known_models_are_known_after_a_restart_without_the_target(fresh: Fresh) -> None:
    api = fresh()
    api.upstream.stop()
    api.daemon.kill()
    api.daemon.start()
    job_id = api.submit("x")
    assert api.job(job_id)["attempt"] == 0
    api.upstream.start()
    assert api.ended(job_id)["state"] == "done"


@pytest.mark.parametrize(
    ("busy", "model"), [("#status=503 #after=60", "a"), ("#status=429 #after=90", "b"), ("#status=429", "c")]
)
def test_a_model_whose_server_is_busy_holds_only_itself_back(fresh: Fresh, busy: str, model: str) -> None:
    api = fresh()
    waits = [api.submit(busy, model), api.submit("after it", model)]
    until(lambda: "target_busy" in str(api.job(waits[0])["error_code"]))
    others = [name for name in "abc" if name != model]
    assert [api.ended(api.submit("x", name))["state"] for name in others * 2] == ["done"] * 4
    assert {api.job(job_id)["attempt"] for job_id in waits} <= {0, 1}
    if "after" in busy:
        for job_id in waits:
            job = api.job(job_id)
            assert (job["state"], job["attempt"], job["queue_position"], job["eta_seconds"]) == (
                "queued",
                0,
                None,
                None,
            )
        assert len(api.upstream.asked(busy)) == 1
    for job_id in waits:
        api.http.post(f"/jobs/{job_id}/cancel")


def test_a_busy_model_goes_on_when_its_time_has_come(fresh: Fresh) -> None:
    api = fresh(slots=2)
    jobs = [api.submit("first #status=429 #after=1 #times=1"), api.submit("second"), api.submit("x", "b")]
    ended = [api.ended(job_id) for job_id in jobs]
    assert [(job["state"], job["attempt"]) for job in ended] == [("done", 1)] * 3


def test_a_target_that_breaks_off_twice_is_done_on_the_third_attempt(api: Api) -> None:
    job = api.ended(api.submit("breaks twice #break=2 #chunks=3"))
    assert (job["state"], job["attempt"], job["error"]) == ("done", 3, None)
    assert job["result"]["message"]["content"] == "w0 w1 w2 "


def test_a_target_that_always_breaks_off_fails_the_job_with_its_last_fault(api: Api) -> None:
    job = api.ended(api.submit("always breaks #break=99", max_attempts=2))
    assert (job["state"], job["attempt"], job["result"]) == ("failed", 2, None)
    assert "broke off" in job["error"]


def test_what_the_target_refuses_fails_at_once_with_its_words(api: Api) -> None:
    job = api.ended(api.submit("refused #status=400"))
    assert (job["state"], job["attempt"], job["error"]) == ("failed", 1, "told to by refused #status=400")


def test_a_busy_target_costs_no_attempt(api: Api) -> None:
    job = api.ended(api.submit("busy #status=429 #after=0 #times=2"))
    assert (job["state"], job["attempt"]) == ("done", 1)


@pytest.mark.parametrize("text", ["#garbage", "#cut=0", "#error", "#nothttp", "#status=502"])
def test_nonsense_from_the_target_costs_an_attempt_each_time(api: Api, text: str) -> None:
    api.ended(api.submit("well"))  # else three failures in a row would have the model rest
    job = api.ended(api.submit(f"{text} of one", max_attempts=2))
    assert (job["state"], job["attempt"]) == ("failed", 2)
    assert job["error"]


def test_a_silent_target_costs_its_patience(fresh: Fresh) -> None:
    api = fresh(first_chunk_timeout=0.3, stall_timeout=0.3)
    silent = api.ended(api.submit("#silent", max_attempts=1))
    stalled = api.ended(api.submit("#stall", max_attempts=1))
    assert [job["error"].endswith("said nothing for 0.3 s") for job in (silent, stalled)] == [True, True]


@pytest.fixture
def openai_upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "openai") as upstream:
        yield upstream


def test_a_server_that_speaks_openai_completes_both_kinds_of_jobs(fresh: Fresh, openai_upstream: Upstream) -> None:
    api = fresh(ollama_url="", openai_url=openai_upstream.url)
    native = api.ended(api.submit("#chunks=2"))
    assert native["result"]["message"]["content"] == "w0 w1 "
    own = api.ended(api.submit("#chunks=2", endpoint="/v1/chat/completions"))
    assert own["result"]["choices"][0]["message"]["content"] == "w0 w1 "


def loads(api: Api) -> list[str]:
    """The models in the order in which jobs began to run, a model that follows itself counted once."""
    events = [c for job in every_job(api) for c in api.http.get(f"/jobs/{job}/events").json()["events"]]
    order = [c["model"] for c in sorted(events, key=lambda c: c["seq"]) if c["state"] == "loading"]
    return [model for n, model in enumerate(order) if n == 0 or order[n - 1] != model]


def every_job(api: Api) -> list[str]:
    return [job["job_id"] for job in api.http.get("/jobs", params={"limit": 500}).json()["jobs"]]


def starts(api: Api) -> int:
    """How many children were started: each writes its first line once."""
    logs = api.daemon.data_dir / "logs"
    return sum(file.read_text().count('{"port"') for file in logs.iterdir())


def test_sixty_jobs_of_three_managed_models_cost_three_loads(fresh: Fresh) -> None:
    api = fresh(models=managed("a", "b", "c"))
    first = api.submit("#silent", "a")
    api.until_state("working", first)
    ids = [api.submit("x", "abc"[n % 3]) for n in range(60)]
    api.http.post(f"/jobs/{first}/cancel")
    assert {api.ended(job_id)["state"] for job_id in ids} == {"done"}
    assert sorted(loads(api)) == ["a", "b", "c"]
    assert starts(api) == 3


def test_a_high_job_for_another_managed_model_runs_next(fresh: Fresh) -> None:
    api = fresh(models=managed("a", "b"))
    running = api.submit("#silent", "a")
    api.until_state("working", running)
    normal = [api.submit("x", "a") for _ in range(3)]
    high = api.submit("x", "b", priority="high")
    began = time.monotonic()
    events = api.http.get(f"/jobs/{running}/events").json()["events"]
    loading, working = (datetime.fromisoformat(event["timestamp"]) for event in events[1:3])
    load = (working - loading).total_seconds()
    until(lambda: time.monotonic() > began + 2 * load)  # a turn lasts as long as going there and back
    api.http.post(f"/jobs/{running}/cancel")
    jobs: dict[str, Any] = {job_id: api.ended(job_id) for job_id in [high, *normal]}
    assert all(jobs[high]["started_at"] < jobs[job_id]["started_at"] for job_id in normal)
    assert loads(api) == ["a", "b", "a"]
