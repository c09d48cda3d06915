"""POST /jobs?batch=NAME: a batch of native jobs, from its submission to its results and its webhook."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.support.foreman import Daemon, Upstream, an_upstream, until
from tests.support.receiver import SECRET, Receiver

TOKENS = "alice:SECRET-A,bob:SECRET-B"
NDJSON = {"Content-Type": "application/x-ndjson"}
ENDED = ("completed", "failed", "cancelled", "expired")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("batches") / "data"
    settings: dict[str, Any] = {"token": TOKENS, "admin_token": "boss", "private_jobs": True, "slots": 4}
    with Daemon(folder, ollama_url=upstream.url, max_attempts=1, **settings) as daemon:
        yield daemon
        assert daemon.errors == []


def connect(daemon: Daemon, token: str = "SECRET-A") -> httpx2.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=daemon.url, headers=headers, trust_env=False, timeout=60)


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx2.Client]:
    with connect(daemon) as http:
        yield http


def job(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "a", "messages": [{"role": "user", "content": text}]} | more


def ndjson(*lines: dict[str, Any] | bytes) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


def submit(http: httpx2.Client, *lines: dict[str, Any] | bytes, name: str = "nightly", **more: Any) -> httpx2.Response:
    params = {"batch": name} | more.pop("params", {})
    headers = NDJSON | more.pop("headers", {})
    return http.post("/jobs", params=params, headers=headers, content=ndjson(*lines), **more)


def ended(http: httpx2.Client, batch_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = http.get(f"/batches/{batch_id}").json()
        return shown if shown["state"] in ENDED else None

    found = until(look)
    assert found is not None
    return found


def results(http: httpx2.Client, batch: dict[str, Any]) -> list[dict[str, Any]]:
    answer = http.get(batch["links"]["results"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_every_line_has_a_result_in_the_order_of_the_lines(http: httpx2.Client) -> None:
    answer = submit(
        http,
        job("one", custom_id="first"),
        job("#status=400"),
        b"",
        {"model": "a", "prompt": "two", "endpoint": "/api/generate", "metadata": {"of": "me"}, "priority": "high"},
        job("odd \u2028\u0085 #echo"),
    )
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/batches/{made['batch_id']}"
    assert (made["kind"], made["name"], made["state"], made["total"]) == ("native", "nightly", "in_progress", 4)
    assert (made["model"], made["endpoint"], made["owner"]) == ("a", "", "alice")
    batch = ended(http, made["batch_id"])
    assert (batch["state"], batch["done"], batch["failed"]) == ("completed", 3, 1)
    assert {*batch["links"]} == {"self", "cancel", "jobs", "results"}
    found = results(http, batch)
    assert [(line["line"], line["custom_id"], line["state"]) for line in found] == [
        (1, "first", "done"),
        (2, None, "failed"),
        (3, None, "done"),
        (4, None, "done"),
    ]
    assert [*found[1]] == ["line", "job_id", "custom_id", "state", "error", "error_code"]
    assert found[1]["error_code"] == "target_refused"
    for line in found:
        shown = http.get(f"/jobs/{line['job_id']}").json()
        assert (shown["state"], shown["batch_id"]) == (line["state"], made["batch_id"])
        assert (shown["result"], shown["error"]) == (line.get("result"), line.get("error"))
    jobs = http.get(made["links"]["jobs"]).json()["jobs"]
    assert [one["priority"] for one in jobs] == ["low", "high", "low", "low"]
    assert jobs[1]["metadata"] == {"of": "me"}
    listed = http.get("/batches?limit=1").json()["batches"]
    assert (listed[0]["batch_id"], listed[0]["name"]) == (made["batch_id"], "nightly")


def test_one_bad_line_and_nothing_is_stored(http: httpx2.Client) -> None:
    before = http.get("/batches").json(), http.get("/jobs").json()
    lines: list[dict[str, Any] | bytes] = [
        job(),
        b"{",
        b"",
        {"messages": []},
        job(model="nothing"),
        job(priority="urgent"),
        job(batch_id="x"),
    ]
    answer = submit(http, *lines)
    assert answer.status_code == 422
    alone = http.post("/jobs", headers=NDJSON, content=ndjson(*lines[1:6])).json()
    told = answer.json()
    assert (told["accepted"], told["rejected"], told["jobs"]) == (0, 4, [])
    assert [error["line"] for error in told["errors"]] == [2, 4, 5, 6]
    assert [error["code"] for error in told["errors"]] == [
        "invalid_json",
        "model_required",
        "model_not_found",
        "field_invalid",
    ]
    assert [error | {"line": 0} for error in told["errors"]] == [error | {"line": 0} for error in alone["errors"]]
    assert (http.get("/batches").json(), http.get("/jobs").json()) == before


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"content": b""}, 422, None),
        ({"params": {"batch": ""}}, 422, "field_invalid"),
        ({"params": {"batch": "x", "other": "1"}}, 422, "field_invalid"),
        ({"headers": {"Content-Type": "application/json"}}, 422, "field_invalid"),
        ({"headers": NDJSON | {"Content-Encoding": "br2"}}, 415, "wrong_content_encoding"),
        ({"headers": NDJSON | {"Idempotency-Key": "a b"}}, 422, "field_invalid"),
        ({"params": {"batch": "x", "state_webhook_url": "ftp://x"}}, 422, "webhook_refused"),
    ],
)
def test_what_is_no_batch_is_refused(http: httpx2.Client, asked: dict[str, Any], status: int, code: str | None) -> None:
    given = {"params": {"batch": "x"}, "headers": NDJSON, "content": ndjson(job())} | asked
    answer = http.post("/jobs", **given)
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


def test_a_key_makes_one_batch(http: httpx2.Client, daemon: Daemon) -> None:
    key = {"Idempotency-Key": "tonight"}
    first = submit(http, job("once"), headers=key)
    again = submit(http, job("once"), headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["batch_id"] == first.json()["batch_id"]
    for other in (submit(http, job("twice"), headers=key), submit(http, job("once"), name="other", headers=key)):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    with connect(daemon, "SECRET-B") as bob:
        assert submit(bob, job("once"), headers=key).json()["batch_id"] != first.json()["batch_id"]
        assert bob.get(f"/batches/{first.json()['batch_id']}").status_code == 404
        assert bob.get(f"/batches/{first.json()['batch_id']}/results").status_code == 404


def test_a_compressed_body_is_read_as_others(http: httpx2.Client) -> None:
    headers = NDJSON | {"Content-Encoding": "gzip"}
    body = gzip.compress(ndjson(*(job(f"packed {n}") for n in range(100))))
    answer = http.post("/jobs", params={"batch": "packed"}, headers=headers, content=body)
    assert (answer.status_code, answer.json()["total"]) == (202, 100)
    assert ended(http, answer.json()["batch_id"])["done"] == 100


def test_a_cancelled_batch_has_a_line_for_each_request(http: httpx2.Client) -> None:
    made = submit(http, job("quick"), *(job(f"#silent {n}", custom_id=str(n)) for n in range(300))).json()
    until(lambda: http.get(f"/batches/{made['batch_id']}").json()["done"] == 1)
    assert http.post(made["links"]["cancel"]).json()["state"] == "cancelling"
    batch = ended(http, made["batch_id"])
    assert (batch["state"], batch["done"], batch["cancelled"]) == ("cancelled", 1, 300)
    found = results(http, batch)
    assert [line["line"] for line in found] == [*range(1, 302)]
    assert [line["custom_id"] for line in found] == [None, *(str(n) for n in range(300))]
    assert {line["state"] for line in found[1:]} == {"cancelled"}
    assert {line["error_code"] for line in found[1:]} == {"batch_cancelled"}
    assert found[-1]["job_id"] is None


def test_a_batch_larger_than_the_queue_is_fed_over_a_kill(tmp_path: Path, upstream: Upstream) -> None:
    """SIGKILL in the middle: each line has one result, and the counts are right."""
    bad = {n for n in range(60) if n % 10 == 7}
    lines = [job(f"#status=400 {n}" if n in bad else f"#slow=0.02 {n}", custom_id=str(n)) for n in range(60)]
    with Daemon(tmp_path / "data", ollama_url=upstream.url, slots=2, max_queue=10) as daemon:
        with connect(daemon) as http:
            assert http.post("/jobs", headers=NDJSON, content=ndjson(*lines)).status_code == 422, "as single jobs"
            made = submit(http, *lines).json()
            until(lambda: http.get(f"/batches/{made['batch_id']}").json()["done"] >= 15)
        daemon.kill()
        daemon.start()
        with connect(daemon) as http:
            batch = ended(http, made["batch_id"])
            assert (batch["state"], batch["done"], batch["failed"]) == ("completed", 54, 6)
            found = results(http, batch)
            assert [line["custom_id"] for line in found] == [str(n) for n in range(60)]
            assert {n for n, line in enumerate(found) if line["state"] == "failed"} == bad
        assert daemon.errors == []


def test_one_webhook_tells_of_the_end(tmp_path: Path, upstream: Upstream) -> None:
    """Also when Foreman is killed before its receiver answers."""
    with Receiver("503") as receiver:
        settings: dict[str, Any] = {"webhook_secret": SECRET, "webhook_backoff": 0.05, "webhook_retries": 20}
        with Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon:
            params = {"state_webhook_url": receiver.url}
            with connect(daemon) as http:
                made = submit(http, job("one"), job("#status=400"), params=params).json()
                until(lambda: receiver.got)
            daemon.kill()
            receiver.answer = "204"
            before = len(receiver.got)
            daemon.start()
            until(lambda: len(receiver.got) > before)
            got = receiver.got[-1]
            Webhook(SECRET).verify(got.body.decode(), got.headers)
            assert {one.id for one in receiver.got} == {got.id}
            with connect(daemon) as http:
                shown = http.get(f"/batches/{made['batch_id']}").json()
                unchanging = {"batch_id", "kind", "name", "state", "total", "done", "failed", "ended_at", "links"}
                assert (got.payload["event"], got.payload["timestamp"]) == ("batch.completed", shown["ended_at"])
                assert {name: got.payload[name] for name in unchanging} == {name: shown[name] for name in unchanging}
                cancelled = submit(http, job("#silent"), name="other", params=params).json()
                http.post(cancelled["links"]["cancel"])
                until(lambda: receiver.got[-1].payload["batch_id"] == cancelled["batch_id"])
                assert receiver.got[-1].payload["event"] == "batch.cancelled"
            assert daemon.errors == []
