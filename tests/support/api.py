"""What tests ask of a running Foreman."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx2

from tests.support.foreman import Daemon

NDJSON = {"Content-Type": "application/x-ndjson"}


def chat(text: str = "hello", model: str = "a", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def submit(daemon: Daemon, text: str = "hello", **fields: Any) -> str:
    answer = daemon.http.post("/jobs", json=chat(text, **fields))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def deliveries(daemon: Daemon, job_id: str) -> list[dict[str, Any]]:
    answer = daemon.http.get(f"/jobs/{job_id}/deliveries")
    assert answer.status_code == 200
    return list(answer.json()["deliveries"])


def ended(daemon: Daemon, job_id: str) -> bool:
    """Whether no delivery of the job is still to be made."""
    return all(delivery["state"] != "due" for delivery in deliveries(daemon, job_id))


def job(daemon: Daemon, job_id: str) -> dict[str, Any]:
    answer = daemon.http.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def target_of(job: dict[str, Any]) -> str:
    """The name that settings give to the target of a job as it is shown: one among several nodes ends in its node's."""
    return str(job["target"]).partition("@")[0]


def events(daemon: Daemon, job_id: str) -> list[dict[str, Any]]:
    answer = daemon.http.get(f"/jobs/{job_id}/events")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["events"])


def state(daemon: Daemon, job_id: str) -> str:
    return str(job(daemon, job_id)["state"])


def submit_many(daemon: Daemon, jobs: Iterable[dict[str, Any]]) -> list[str]:
    """The ids of jobs that went in with one request."""
    answer = daemon.http.post("/jobs", content="\n".join(map(json.dumps, jobs)), headers=NDJSON)
    assert (answer.status_code, answer.json()["errors"]) == (202, [])
    return [accepted["job_id"] for accepted in answer.json()["jobs"]]


def error(answer: httpx2.Response) -> tuple[int, str]:
    """The status and the code of a refusal, which has a sentence too."""
    assert answer.json()["error"]
    return answer.status_code, str(answer.json()["code"])
