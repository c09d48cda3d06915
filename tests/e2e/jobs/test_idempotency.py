"""One key, one job."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.api import chat, error
from tests.support.foreman import Daemon, Upstream, an_upstream

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
    assert error(post(daemon, key, **fields | other)) == (422, "idempotency_mismatch")
    again = post(daemon, key, **fields)
    assert (again.status_code, again.json()["job_id"]) == (202, first.json()["job_id"])
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"model": "a", "messages": []%s}', '{"messages":[],"model":"a"%s}'),
        (
            '{"model": "a", "options": {"seed": 5, "stop": "é"}%s}',
            '{"model":"a","options":{"stop":"\\u00e9","seed":5.0}%s}',
        ),
        ('{"model": "a", "timeout": 60%s}', '{"timeout": 6e1, "model": "a", "priority": "normal", "metadata": null%s}'),
        ('{"model": "a", "max_attempts": 3%s}', '{"endpoint": "/api/chat", "model": "a"%s}'),
    ],
)
def test_a_body_that_asks_for_the_same_in_other_words_is_the_same(daemon: Daemon, one: str, other: str) -> None:
    key = {"Idempotency-Key": f"words {one}".replace(" ", "_").encode("ascii", "replace").decode()}
    times = ', "not_before": "2030-01-01T00:00:00Z"', ', "not_before": "2030-01-01T01:00:00.0+01:00"'
    answers = [
        daemon.http.post("/jobs", content=(body % at).encode(), headers=key | {"Content-Type": "application/json"})
        for body, at in ((one, times[0]), (other, times[1]), (other, times[0]))
    ]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["job_id"] for answer in answers}) == 1


def test_two_named_tokens_have_a_key_each(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(
        tmp_path / "data", ollama_url=upstream.url, token="alice:aaaaaaaaaaaaaaaa,bob:bbbbbbbbbbbbbbbb"
    ) as daemon:
        made: dict[str, set[str]] = {}
        for text, name in [("hers", "alice"), ("his", "bob"), ("hers", "alice"), ("his", "bob")]:
            headers = {"Idempotency-Key": "k", "Authorization": f"Bearer {name[0] * 16}"}
            answer = daemon.http.post("/jobs", json=chat(text), headers=headers)
            assert answer.status_code == 202, answer.text
            made.setdefault(name, set()).add(answer.json()["job_id"])
            assert daemon.http.get(answer.headers["location"], headers=headers).json()["owner"] == name
        assert [len(ids) for ids in made.values()] == [1, 1]
        assert made["alice"].isdisjoint(made["bob"])


def test_a_known_key_is_answered_when_its_model_and_its_receiver_are_gone(upstream: Upstream, tmp_path: Path) -> None:
    body = chat("as before", model="c", state_webhook_url="http://10.1.2.3/hook", not_before="2090-01-01T00:00:00Z")
    with Daemon(tmp_path / "data", ollama_url=upstream.url, webhook_allow="10.0.0.0/8") as daemon:
        first = daemon.http.post("/jobs", json=body, headers={"Idempotency-Key": "k"}).json()
    with an_upstream("--models", "a") as other, Daemon(tmp_path / "data", ollama_url=other.url) as daemon:
        again = daemon.http.post("/jobs", json=body, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["job_id"]) == (202, first["job_id"])
        assert error(daemon.http.post("/jobs", json=body, headers={"Idempotency-Key": "new"})) == (
            404,
            "model_not_found",
        )
        hook = body | {"model": "a"}
        assert error(daemon.http.post("/jobs", json=hook, headers={"Idempotency-Key": "n"})) == (422, "webhook_refused")
        assert error(daemon.http.post("/jobs", json=hook, headers={"Idempotency-Key": "k"})) == (
            422,
            "idempotency_mismatch",
        )


@pytest.mark.alone  # PostgreSQL is of no version before
def test_a_key_of_the_version_before_goes_on_working(upstream: Upstream, tmp_path: Path) -> None:
    """Its fingerprint is the hash of the body's bytes and of what Python said of the fields."""
    body = chat("long ago", priority="high", not_before="2090-01-01T00:00:00Z", webhook_events=["done"])
    payload = json.dumps(chat("long ago"), separators=(",", ":")).encode()
    own = (
        "[('not_before', 3786912000.0), ('priority', <Priority.HIGH: 0>), ('webhook_events', (<State.DONE: 'done'>,))]"
    )
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        made = daemon.http.post("/jobs", json=body, headers={"Idempotency-Key": "old"}).json()
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "foreman.db")) as db:
        stored = hashlib.sha256(payload + own.encode()).digest()
        db.execute("UPDATE jobs SET fingerprint = ? WHERE id = ?", (stored, made["job_id"]))
        db.commit()
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        again = daemon.http.post("/jobs", json=body, headers={"Idempotency-Key": "old"})
        assert (again.status_code, again.json()["job_id"]) == (202, made["job_id"])
        changed = daemon.http.post("/jobs", json=body | {"priority": "low"}, headers={"Idempotency-Key": "old"})
        assert error(changed) == (422, "idempotency_mismatch")
