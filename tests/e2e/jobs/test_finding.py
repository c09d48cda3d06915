"""How callers find a job again among many: by a part of its id, by their own names, by what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import chat, error, job, state, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, until


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    data_dir = tmp_path_factory.mktemp("finding") / "data"
    with Daemon(data_dir, ollama_url=upstream.url, shutdown_grace=0, retry_backoff=0.01) as daemon:
        yield daemon
        assert not daemon.errors


def found(daemon: Daemon, **query: Any) -> list[str]:
    answer = daemon.http.get("/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["job_id"] for job in answer.json()["jobs"]]


def ended(daemon: Daemon, text: str = "hello", **fields: Any) -> str:
    """Submit a job and wait for its end."""
    answer = daemon.http.post("/jobs", json=chat(text, **fields), headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def test_a_job_is_found_by_its_id_its_beginning_and_its_end_in_either_case(daemon: Daemon) -> None:
    first, second = ended(daemon), ended(daemon)
    assert found(daemon, id=first) == found(daemon, id=first.lower()) == [first]
    assert found(daemon, id=second[-6:]) == found(daemon, id=second[-9:].lower()) == [second]
    assert second in found(daemon, id=second[:6]) and first in found(daemon, id=first[:10].lower())
    assert found(daemon, id=second[:-1]) == [second]
    assert found(daemon, id="7" + first[1:]) == []
    assert found(daemon, id=first[-6:], state="failed,cancelled") == []


@pytest.mark.parametrize("given", ["", "ABCDE", "A" * 27, "ABC*EF", "ABCDEU", "ÀBCDEF"])
def test_what_cannot_be_a_part_of_an_id_is_refused(daemon: Daemon, given: str) -> None:
    assert error(daemon.http.get("/jobs", params={"id": given})) == (422, "field_invalid")


def test_jobs_are_found_by_the_callers_own_name_or_its_beginning(daemon: Daemon) -> None:
    made = {name: ended(daemon, custom_id=name) for name in ("night/1", "night/12", "night%1", "Night/1")}
    again = ended(daemon, custom_id="night/1")
    assert found(daemon, custom_id="night/1") == [again, made["night/1"]]
    assert found(daemon, custom_id="night/*") == [again, made["night/12"], made["night/1"]]
    assert found(daemon, custom_id="night%*") == [made["night%1"]]
    assert found(daemon, custom_id="night") == []


def test_several_states_are_asked_for_at_once(daemon: Daemon) -> None:
    name = "states"
    failed = ended(daemon, "#status=400", custom_id=name)
    done = ended(daemon, custom_id=name)
    waiting = submit(daemon, custom_id=name, not_before="2090-01-01T00:00:00Z")
    assert found(daemon, custom_id=name, state="failed,done") == [done, failed]
    assert found(daemon, custom_id=name, state="queued, failed") == [waiting, failed]
    assert found(daemon, custom_id=name, state="queued") == [waiting]
    daemon.http.post(f"/jobs/{waiting}/cancel")


def test_jobs_are_found_by_endpoint_and_by_the_code_of_their_fault(daemon: Daemon) -> None:
    name = "codes"
    refused = ended(daemon, "#status=400", custom_id=name)
    broken = ended(daemon, "#silent", custom_id=name, max_attempts=1, timeout=0.2)
    prompt = {"model": "a", "prompt": "hello", "endpoint": "/api/generate", "custom_id": name}
    generated = daemon.http.post("/jobs", json=prompt, headers={"Prefer": "wait=30"}).json()["job_id"]
    assert found(daemon, custom_id=name, error_code="target_refused") == [refused]
    assert found(daemon, custom_id=name, error_code="attempt_timeout") == [broken]
    assert found(daemon, custom_id=name, endpoint="/api/generate") == [generated]
    assert found(daemon, endpoint="/api/generate", error_code="target_refused") == []


def test_jobs_are_found_by_when_they_were_made(daemon: Daemon) -> None:
    first = ended(daemon)
    until(lambda: job(daemon, ended(daemon))["created_at"] > job(daemon, first)["created_at"])
    at = job(daemon, first)["created_at"]
    assert first in found(daemon, created_after=at) and first not in found(daemon, created_before=at)
    second = (datetime.fromisoformat(at) + timedelta(milliseconds=1)).isoformat()
    assert found(daemon, created_after=at, created_before=second)[-1] == first
    assert f"created_after={second}".count("+") == 1  # which a query takes for a blank
    assert first not in [job["job_id"] for job in daemon.http.get(f"/jobs?created_after={second}").json()["jobs"]]


def test_jobs_are_found_by_target_by_metadata_and_by_when_they_ended(daemon: Daemon) -> None:
    name = "where"
    sky = ended(daemon, custom_id=name, metadata={"project": "sky", "a.b": "="})
    sea = ended(daemon, custom_id=name, metadata={"project": "sea"})
    target = job(daemon, sky)["target"]
    assert found(daemon, custom_id=name, target=target) == [sea, sky]
    assert found(daemon, custom_id=name, target="elsewhere") == []
    assert found(daemon, **{"metadata.project": "sky"}) == found(daemon, **{"metadata.a.b": "="}) == [sky]
    assert found(daemon, **{"metadata.project": "sky", "metadata.a.b": "?"}) == []
    assert sea in found(daemon, ended_after=job(daemon, sea)["completed_at"])
    assert found(daemon, custom_id=name, ended_after="2090-01-01T00:00:00Z") == []


def test_a_model_is_found_by_every_name_that_it_has_and_by_its_own_when_it_is_gone(tmp_path: Path) -> None:
    with an_upstream("--models", "b:latest,c:latest") as upstream, Daemon(tmp_path, ollama_url=upstream.url) as daemon:
        plain, full, other = (ended(daemon, model=model) for model in ("b", "b:latest", "c"))
        assert found(daemon, model="b") == found(daemon, model="b:latest") == [full, plain]
        assert found(daemon, model="c:latest", state="done") == [other]
        assert found(daemon, model="no such model") == []
    with an_upstream("--models", "c:latest") as upstream, Daemon(tmp_path, ollama_url=upstream.url) as daemon:
        assert error(daemon.http.post("/jobs", json=chat(model="b"))) == (404, "model_not_found")
        assert found(daemon, model="b:latest") == [full, plain]
        assert found(daemon, model="b") == [plain]  # what it was called is all that is known of that name now


def test_a_list_by_end_shows_what_ended_last_first_page_by_page(daemon: Daemon) -> None:
    name = "ends"
    parked = [submit(daemon, custom_id=name, not_before="2090-01-01T00:00:00Z") for _ in range(5)]
    for job_id in (order := [parked[n] for n in (3, 0, 4, 1)]):
        daemon.http.post(f"/jobs/{job_id}/cancel")
    assert found(daemon, custom_id=name, order="ended") == order[::-1]
    pages, cursor = [], None
    while True:
        query: dict[str, Any] = {"custom_id": name, "order": "ended", "limit": 3}
        query |= {"after": cursor} if cursor else {}
        page = daemon.http.get("/jobs", params=query).json()
        pages.append([job["job_id"] for job in page["jobs"]])
        if (cursor := page["next"]) is None:
            break
    assert pages == [order[:0:-1], order[:1]]
    assert set(order) <= set(found(daemon, order="ended", state="cancelled", limit=500))
    daemon.http.post(f"/jobs/{order[0]}/retry")  # no longer at its end, until it ends anew
    assert found(daemon, custom_id=name, order="ended")[-1] != order[0]
    until(lambda: state(daemon, order[0]) == "done")
    assert found(daemon, custom_id=name, order="ended")[0] == order[0]
    daemon.http.post(f"/jobs/{parked[2]}/cancel")


@pytest.mark.parametrize(
    "query",
    [
        "state=done,x",
        "state=",
        "state=done&state=failed",
        "order=oldest",
        "order=ended&state=queued,done",
        f"order=ended&after={'0' * 26}",
        f"after=1.5_{'0' * 26}",
        "endpoint=/api/tags",
        "created_after=2030-01-01",
        "created_before=yesterday",
        "custom_id=",
        "error_code=%00",
        "custom-id=x",
        "target=",
        "ended_after=now",
        "metadata=x",
        "metadata.,a=x",
        "metadata.a=%00",
        f"metadata.{'n' * 65}=x",
        "metadata.a=x&metadata.a=y",
        "&".join(f"metadata.{n}=x" for n in range(17)),
    ],
)
def test_a_filter_that_cannot_be_is_refused(daemon: Daemon, query: str) -> None:
    assert error(daemon.http.get(f"/jobs?{query}")) == (422, "field_invalid")
