"""One key, one job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.ask import chat, fault
from tests.daemon import Daemon

AT_ONCE = 50


def post(daemon: Daemon, key: str, **fields: Any) -> httpx2.Response:
    return daemon.http.post("/jobs", json=chat(**fields), headers={"Idempotency-Key": key})


def test_the_same_key_fifty_times_at_once_makes_one_job(daemon: Daemon) -> None:
    def ask(number: int) -> tuple[int, str]:
        with daemon.client() as client:
            answer = client.post("/jobs", json=chat("once only", model="c"), headers={"Idempotency-Key": "same"})
            return answer.status_code, answer.json()["job_id"]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(AT_ONCE)))
    assert {status for status, _ in answers} == {202}
    (job_id,) = {job_id for _, job_id in answers}
    assert [job["job_id"] for job in daemon.http.get("/jobs", params={"model": "c"}).json()["jobs"]] == [job_id]


OTHERS: list[dict[str, Any]] = [
    {"text": "other"},
    {"model": "b"},
    {"priority": "low"},
    {"metadata": {"a": "2"}},
    {"metadata": None},
    {"custom_id": "x"},
    {"max_attempts": 2},
    {"timeout": 5},
    {"endpoint": "/api/generate"},
    {"not_before": "2030-01-01T00:00:00Z"},
    {"state_webhook_url": "http://127.0.0.1:9/"},
    {"options": {"num_ctx": 7}},
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_the_same_key_with_another_body_is_refused(daemon: Daemon, other: dict[str, Any]) -> None:
    key = f"key-{OTHERS.index(other)}"
    fields: dict[str, Any] = {"metadata": {"a": "1"}}
    first = post(daemon, key, **fields)
    assert fault(post(daemon, key, **fields | other)) == (422, "idempotency_mismatch")
    again = post(daemon, key, **fields)
    assert (again.status_code, again.json()["job_id"]) == (202, first.json()["job_id"])
    assert again.headers["location"] == first.headers["location"]
