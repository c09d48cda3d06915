"""/v1/messages/batches, as the official anthropic SDK uses it, unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch

from tests.support.foreman import Daemon, Upstream, an_upstream, until

TOKENS = "alice:SECRET-A,bob:SECRET-B"
ODD = "a\u2028b\u2029c\u0085d"  # which clients that split lines in their own way take for four
UNKNOWN = "msgbatch_01ARZ3NDEKTSV4RRFFQ69G5FAV"
ROUTE = "/v1/messages/batches"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "openai") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("batches") / "data"
    settings: dict[str, Any] = {"token": TOKENS, "admin_token": "boss", "private_jobs": True, "slots": 4}
    with Daemon(folder, openai_url=upstream.url, max_attempts=1, **settings) as daemon:
        yield daemon
        assert daemon.errors == []


def connect(daemon: Daemon, token: str = "SECRET-A") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=daemon.url, api_key=token, max_retries=0, timeout=60)


@pytest.fixture
def client(daemon: Daemon) -> Iterator[anthropic.Anthropic]:
    with connect(daemon) as client:
        yield client


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=daemon.url, headers={"x-api-key": "SECRET-A"}, trust_env=False, timeout=60) as http:
        yield http


def request(custom_id: str, text: str = "hello", **params: Any) -> Any:
    plain = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "params": {k: v for k, v in (plain | params).items() if v is not None}}


def start(client: anthropic.Anthropic, *requests: Any, **more: Any) -> MessageBatch:
    return client.messages.batches.create(requests=requests, **more)


def ended(client: anthropic.Anthropic, batch: MessageBatch) -> MessageBatch:
    def look() -> MessageBatch | None:
        found = client.messages.batches.retrieve(batch.id)
        return found if found.processing_status == "ended" else None

    found = until(look)
    assert found is not None
    return found


def counts(batch: MessageBatch) -> dict[str, int]:
    return {name: count for name, count in batch.request_counts.model_dump().items() if count}


def results(client: anthropic.Anthropic, batch: MessageBatch) -> dict[str, Any]:
    """The results by their ids; each is there once."""
    found = [result.model_dump() for result in client.messages.batches.results(batch.id)]
    assert len({one["custom_id"] for one in found}) == len(found)
    return {one["custom_id"]: one["result"] for one in found}


def error_of(result: dict[str, Any]) -> tuple[str, str]:
    assert result["type"] == "errored"
    assert result["error"]["type"] == "error"
    assert result["error"]["request_id"] is None
    return result["error"]["error"]["type"], result["error"]["error"]["message"]


def test_every_request_has_a_result_in_order(client: anthropic.Anthropic, http: httpx2.Client, daemon: Daemon) -> None:
    asked = [
        request("good"),
        request("odd", ODD + "\0"),
        request("bad", "#status=400"),
        request("broken", "#status=500"),
        request("unknown", model="nothing"),
        request("no-model", model=None),
        request("nul", model="a\0"),
        request("stream", stream=True),
        request("plain", stream=False),
        request("speed", speed="fast"),
        request("none", max_tokens=0),
        request("text", max_tokens="9"),
    ]
    batch = start(client, *asked)
    assert batch.id.startswith("msgbatch_")
    assert (batch.type, batch.processing_status, batch.results_url) == ("message_batch", "in_progress", None)
    assert counts(batch) == {"processing": len(asked)}
    assert batch.expires_at - batch.created_at == timedelta(hours=24)
    assert (batch.ended_at, batch.cancel_initiated_at, batch.archived_at) == (None, None, None)
    batch = ended(client, batch)
    assert counts(batch) == {"succeeded": 3, "errored": 9}
    assert batch.results_url == f"{daemon.url}{ROUTE}/{batch.id}/results"
    assert batch.ended_at is not None

    found = results(client, batch)
    assert list(found) == [one["custom_id"] for one in asked]
    for name in ("good", "odd", "plain"):
        assert found[name]["type"] == "succeeded"
        assert found[name]["message"]["type"] == "message"
        assert found[name]["message"]["content"][0]["text"] == "w0 w1 w2 "
    assert error_of(found["bad"]) == ("invalid_request_error", "told to by #status=400")
    assert error_of(found["broken"])[0] == "api_error"
    assert error_of(found["unknown"])[0] == "not_found_error"
    jobs = http.get("/jobs", params={"batch_id": batch.id}).json()["jobs"]
    assert [job["custom_id"] for job in jobs[::-1]] == list(found)
    for name, word in (
        ("no-model", "model"),
        ("nul", "model"),
        ("stream", "stream"),
        ("speed", "speed"),
        ("none", "max_tokens"),
        ("text", "max_tokens"),
    ):
        kind, message = error_of(found[name])
        assert kind == "invalid_request_error"
        assert word in message


def test_results_are_one_line_each_for_every_client(client: anthropic.Anthropic, http: httpx2.Client) -> None:
    asked = [request("one", model=ODD), request("two", ODD)]
    body = json.dumps({"requests": asked}, indent=2, ensure_ascii=False)
    batch = ended(client, MessageBatch.model_validate(http.post(ROUTE, params={"beta": "true"}, content=body).json()))
    answer = http.get(str(batch.results_url), headers={"Accept": "application/binary"})
    assert answer.headers["Content-Type"] == "application/x-jsonl"
    assert [json.loads(line)["custom_id"] for line in answer.text.splitlines()] == ["one", "two"]
    assert answer.content.endswith(b"\n")


def test_a_cancelled_batch_has_its_answers_and_a_result_for_all_others(client: anthropic.Anthropic) -> None:
    batch = start(client, request("quick"), *(request(f"slow-{n}", "#silent") for n in range(300)))
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        client.messages.batches.results(batch.id)
    with pytest.raises(anthropic.ConflictError, match="has not ended, it is in_progress"):
        client.messages.batches.delete(batch.id)
    cancelled = client.messages.batches.cancel(batch.id)
    assert cancelled.processing_status == "canceling"
    assert cancelled.cancel_initiated_at is not None
    assert counts(cancelled) == {"processing": 301}
    batch = ended(client, batch)
    assert batch.cancel_initiated_at == cancelled.cancel_initiated_at
    found = results(client, batch)
    assert list(found) == ["quick", *(f"slow-{n}" for n in range(300))]
    assert {found[f"slow-{n}"]["type"] for n in range(300)} == {"canceled"}
    assert sum(counts(batch).values()) == 301
    assert counts(batch)["canceled"] >= 300
    with pytest.raises(anthropic.ConflictError, match="Cannot cancel"):
        client.messages.batches.cancel(batch.id)


def test_batches_are_listed_newest_first_in_pages(client: anthropic.Anthropic, http: httpx2.Client) -> None:
    made = [start(client, request("one")).id for _ in range(5)]
    assert [one.id for one in client.messages.batches.list(limit=2)][:5] == made[::-1]
    page = client.messages.batches.list(limit=2)
    assert ([one.id for one in page.data], page.first_id, page.last_id) == (made[:2:-1], made[4], made[3])
    assert page.has_more
    newer = client.messages.batches.list(limit=2, before_id=made[0])
    assert ([one.id for one in newer.data], newer.has_more) == ([made[2], made[1]], True)
    rest = client.messages.batches.list(limit=5, before_id=made[2])
    assert ([one.id for one in rest.data], rest.has_more) == ([made[4], made[3]], False)
    paged = [one.id for one in client.messages.batches.list(limit=1, before_id=made[0])]
    assert paged == made[1:]
    for wrong in ({"limit": 0}, {"limit": 1001}):
        answer = http.get(ROUTE, params=wrong)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list(after_id=UNKNOWN)
    for place in ({"before_id": UNKNOWN}, {"after_id": "x\0"}):
        assert http.get(ROUTE, params=place).status_code == 404
    assert http.get("/v1/batches").json()["data"] == []


def test_a_deleted_batch_is_gone_with_its_results(client: anthropic.Anthropic, http: httpx2.Client) -> None:
    batch = ended(client, start(client, request("one")))
    deleted = client.messages.batches.delete(batch.id)
    assert (deleted.id, deleted.type) == (batch.id, "message_batch_deleted")
    for gone in (client.messages.batches.retrieve, client.messages.batches.delete, client.messages.batches.cancel):
        with pytest.raises(anthropic.NotFoundError):
            gone(batch.id)
    assert http.get(str(batch.results_url)).status_code == 404
    assert http.get(f"/batches/{batch.id}").status_code == 404
    assert batch.id not in [one.id for one in client.messages.batches.list()]
    assert http.get("/v1/files").json()["data"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "requests"),
        ({"requests": {}}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": [5]}, "requests.0"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id"),
        ({"requests": [request("one"), request("")]}, "requests.1.custom_id"),
        ({"requests": [request("a b")]}, "requests.0.custom_id"),
        ({"requests": [request("a\n")]}, "requests.0.custom_id"),
        ({"requests": [request("x" * 65)]}, "requests.0.custom_id"),
        ({"requests": [{"custom_id": "one"}]}, "requests.0.params"),
        ({"requests": [{"custom_id": "one", "params": []}]}, "requests.0.params"),
        ({"requests": [request("one"), request("two"), request("one")]}, "requests.2.custom_id"),
        ({"requests": [request(str(n)) for n in range(100_001)]}, "at most 100000 requests"),
        ([], "object"),
    ],
)
def test_a_bad_envelope_is_refused_at_once(http: httpx2.Client, body: Any, words: str) -> None:
    answer = http.post(ROUTE, json=body)
    assert answer.status_code == 400
    shown = answer.json()
    assert (shown["type"], shown["error"]["type"]) == ("error", "invalid_request_error")
    assert words in shown["error"]["message"]
    assert answer.headers["X-Should-Retry"] == "false"


def test_all_errors_have_the_shape_of_the_api(http: httpx2.Client, daemon: Daemon) -> None:
    for method, path, status, kind in (
        ("POST", ROUTE, 400, "invalid_request_error"),
        ("GET", f"{ROUTE}/{UNKNOWN}", 404, "not_found_error"),
        ("GET", f"{ROUTE}/x%00", 404, "not_found_error"),
        ("GET", f"{ROUTE}/{UNKNOWN}/results", 404, "not_found_error"),
        ("POST", f"{ROUTE}/{UNKNOWN}/cancel", 404, "not_found_error"),
        ("DELETE", f"{ROUTE}/{UNKNOWN}", 404, "not_found_error"),
        ("GET", f"{ROUTE}/a/b/c", 404, "not_found_error"),
        ("PUT", ROUTE, 405, None),
    ):
        answer = http.request(method, path, content=b"{")
        shown = answer.json()
        assert (answer.status_code, shown["type"]) == (status, "error"), path
        assert {"type", "error", "request_id"} <= set(shown)
        assert kind in (None, shown["error"]["type"])
    denied = httpx2.get(f"{daemon.url}{ROUTE}", headers={"x-api-key": "wrong"}, trust_env=False)
    assert (denied.status_code, denied.json()["error"]["type"]) == (401, "authentication_error")


def test_a_body_that_is_too_large_says_so(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, max_body=2**20) as daemon:
        answer = daemon.http.post(ROUTE, json={"requests": [request("one", "x" * 2**20)]})
        assert (answer.status_code, answer.json()["type"]) == (413, "error")
        assert str(2**20) in answer.json()["error"]["message"]
        assert "max_body" in answer.json()["error"]["message"]


def test_batches_are_their_owners(daemon: Daemon, client: anthropic.Anthropic) -> None:
    batch = ended(client, start(client, request("one")))
    with connect(daemon, "SECRET-B") as bob:
        of_bob = bob.messages.batches
        for hidden in (of_bob.retrieve, of_bob.results, of_bob.cancel, of_bob.delete):
            with pytest.raises(anthropic.NotFoundError):
                hidden(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            of_bob.list(after_id=batch.id)
        assert list(of_bob.list()) == []
        headers = {"Authorization": "Bearer SECRET-B"}
        answer = httpx2.get(str(batch.results_url), headers=headers, trust_env=False)
        assert answer.status_code == 404
    with connect(daemon, "boss") as boss:
        assert boss.messages.batches.retrieve(batch.id).id == batch.id


def test_a_repeated_request_makes_one_batch(client: anthropic.Anthropic) -> None:
    first = start(client, request("repeated"))
    again = start(client, request("repeated"), extra_headers={"x-stainless-retry-count": "1"})
    assert again.id == first.id
    assert start(client, request("repeated")).id != first.id
    other = start(client, request("other"), extra_headers={"x-stainless-retry-count": "1"})
    assert other.id != first.id
    assert counts(ended(client, other)) == {"succeeded": 1}


def test_the_url_of_the_results_is_on_the_origin_that_was_called(
    client: anthropic.Anthropic, http: httpx2.Client, daemon: Daemon
) -> None:
    batch = ended(client, start(client, request("one")))
    port = daemon.url.rpartition(":")[2]
    told = http.get(f"{ROUTE}/{batch.id}", headers={"Host": f"localhost:{port}"}).json()["results_url"]
    assert told == f"http://localhost:{port}{ROUTE}/{batch.id}/results"
    behind = {"Host": "foreman.localhost", "X-Forwarded-Proto": "https"}
    told = http.get(f"{ROUTE}/{batch.id}", headers=behind).json()["results_url"]
    assert told == f"https://foreman.localhost{ROUTE}/{batch.id}/results"


def test_the_native_routes_show_the_same_batch(client: anthropic.Anthropic, http: httpx2.Client) -> None:
    batch = ended(client, start(client, request("one"), request("two", stream=True)))
    shown = http.get(f"/batches/{batch.id}").json()
    assert (shown["batch_id"], shown["kind"], shown["state"]) == (batch.id, "anthropic", "completed")
    assert (shown["total"], shown["done"], shown["failed"], shown["model"]) == (2, 1, 1, "a")
    assert {"output", "errors"}.isdisjoint(shown["links"])
    lines = http.get(shown["links"]["results"]).text.splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == ["one", "two"]
    jobs = http.get(shown["links"]["jobs"]).json()["jobs"]
    assert [(job["custom_id"], job["endpoint"], job["state"], job["priority"]) for job in jobs] == [
        ("two", "/v1/messages", "failed", "low"),
        ("one", "/v1/messages", "done", "low"),
    ]
    waiting = start(client, *(request(str(n), "#silent") for n in range(20)))
    assert http.post(f"/batches/{waiting.id}/cancel").json()["state"] == "cancelling"
    assert counts(ended(client, waiting)) == {"canceled": 20}
    for path in (f"/v1/batches/{batch.id}", f"{ROUTE}/{batch.id.removeprefix('msg')}"):
        assert http.get(path).status_code == 404


def test_sixty_requests_over_a_kill_have_one_result_each(tmp_path: Path, upstream: Upstream) -> None:
    bad = {7, 17, 27, 37, 47, 57}
    asked = [request(str(n), f"#status=400 {n}" if n in bad else f"#slow=0.02 {n}") for n in range(60)]
    with Daemon(tmp_path / "data", openai_url=upstream.url, slots=2) as daemon:
        with connect(daemon) as client:
            batch = start(client, *asked)
        until(lambda: daemon.http.get(f"/batches/{batch.id}").json()["done"] >= 15)
        daemon.kill()
        daemon.start()
        with connect(daemon) as client:
            batch = ended(client, batch)
            assert counts(batch) == {"succeeded": 54, "errored": 6}
            found = results(client, batch)
        assert list(found) == [str(n) for n in range(60)]
        assert {int(name) for name, result in found.items() if result["type"] == "errored"} == bad
        assert daemon.errors == []


def test_a_batch_past_its_window_expires_with_what_is_done(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, slots=2, batch_window=3) as daemon:
        with connect(daemon) as client:
            batch = ended(client, start(client, request("quick"), *(request(f"s-{n}", "#silent") for n in range(300))))
            assert counts(batch) == {"succeeded": 1, "expired": 300}
            found = results(client, batch)
            assert found["quick"]["type"] == "succeeded"
            assert {result["type"] for name, result in found.items() if name != "quick"} == {"expired"}
        assert daemon.errors == []


def test_a_batch_without_a_window_has_a_time_that_never_comes(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, batch_window=0) as daemon, connect(daemon) as client:
        assert start(client, request("one")).expires_at == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
