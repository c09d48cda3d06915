"""/v1/batches, as the official openai SDK uses it, unmodified."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types import Batch

from tests.support.foreman import Daemon, Upstream, an_upstream, until

TOKENS = "alice:SECRET-A,bob:SECRET-B"
CHAT = "/v1/chat/completions"
ODD = "a\u2028b\u2029c\u0085d"  # which clients that split lines in their own way take for four
ENDED = ("completed", "failed", "cancelled", "expired")
UNKNOWN = "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"
CREATE: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"}

Sdk = Callable[..., openai.OpenAI]


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


def connect(daemon: Daemon, token: str = "SECRET-A") -> openai.OpenAI:
    http = httpx2.Client(trust_env=False, timeout=60)
    return openai.OpenAI(
        base_url=f"{daemon.url}/v1", api_key=token, http_client=http, max_retries=0, _strict_response_validation=True
    )


@pytest.fixture
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with connect(daemon) as client:
        yield client


def request(custom_id: str, text: str = "hello", *, url: str = CHAT, model: str = "a") -> dict[str, Any]:
    body: dict[str, Any] = {"model": model}
    if url == CHAT:
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["prompt" if url == "/v1/completions" else "input"] = text
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def upload(client: openai.OpenAI, *lines: Any, data: bytes | None = None) -> str:
    given = b"".join(json.dumps(line).encode() + b"\n" for line in lines) if data is None else data
    return client.files.create(file=("lines.jsonl", given), purpose="batch").id


def start(client: openai.OpenAI, *lines: Any, **fields: Any) -> Batch:
    return client.batches.create(**(CREATE | {"input_file_id": upload(client, *lines)} | fields))


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ENDED else None

    found = until(look)
    assert found is not None
    return found


def read(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a file by their ids, as clients read them; each is there once."""
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines)
    assert all(set(line) == {"id", "custom_id", "response", "error"} for line in lines)
    return {line["custom_id"]: line for line in lines}


def test_answers_are_in_the_output_file_and_errors_in_the_error_file(client: openai.OpenAI) -> None:
    asked = [
        request("good"),
        request(ODD),
        request("bad", "#status=400"),
        request("broken", "#status=500"),
        request("unknown", model="nothing"),
    ]
    batch = start(client, *asked, metadata={"of": "alice"})
    assert (batch.object, batch.status, batch.output_file_id, batch.metadata) == (
        "batch",
        "validating",
        None,
        {"of": "alice"},
    )
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 2, "failed": 3}
    assert None not in (batch.in_progress_at, batch.finalizing_at, batch.completed_at, batch.expires_at)
    assert (batch.errors, batch.failed_at, batch.cancelled_at) == (None, None, None)
    assert batch.usage is not None
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens

    output = read(client, batch.output_file_id)
    assert list(output) == ["good", ODD]
    for line in output.values():
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        assert line["id"] == f"batch_req_{line['response']['request_id']}"
        assert line["response"]["body"]["object"] == "chat.completion"

    errors = read(client, batch.error_file_id)
    assert list(errors) == ["bad", "broken", "unknown"]
    assert {name: line["response"]["status_code"] for name, line in errors.items()} == {
        "bad": 400,
        "broken": 500,
        "unknown": 404,
    }
    assert errors["bad"]["response"]["body"] == {"error": {"message": "told to by #status=400", "type": "scripted"}}
    assert errors["unknown"]["response"]["body"]["error"]["code"] == "model_not_found"
    assert all(line["error"] is None for line in errors.values())

    file = client.files.retrieve(str(batch.output_file_id))
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")


@pytest.mark.parametrize("url", ["/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_other_endpoints_have_batches_too(client: openai.OpenAI, url: str) -> None:
    batch = ended(client, start(client, request("one", url=url), request("two", "#status=400", url=url), endpoint=url))
    assert (batch.status, batch.endpoint) == ("completed", url)
    assert list(read(client, batch.output_file_id)) == ["one"]
    assert list(read(client, batch.error_file_id)) == ["two"]


def test_a_batch_without_errors_has_no_error_file(client: openai.OpenAI) -> None:
    batch = ended(client, start(client, request("one")))
    assert batch.error_file_id is None
    assert list(read(client, batch.output_file_id)) == ["one"]
    batch = ended(client, start(client, request("one", "#status=400")))
    assert batch.output_file_id is None


def test_what_is_wrong_with_lines_fails_the_batch_and_not_the_call(client: openai.OpenAI) -> None:
    good = json.dumps(request("one")).encode()
    data = b"\n".join(
        [
            good,
            b"{",
            good,
            json.dumps(request("two", url="/v1/embeddings")).encode(),
            json.dumps(request("three") | {"method": "GET"}).encode(),
            json.dumps({"method": "POST", "url": CHAT, "body": {"model": "a"}}).encode(),
            json.dumps(request("four") | {"body": {}}).encode(),
            json.dumps(request("five") | {"body": "text"}).encode(),
        ]
    )
    file = upload(client, data=data)
    batch = ended(client, client.batches.create(**CREATE, input_file_id=file))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(one.line, one.code, one.param) for one in batch.errors.data] == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "url_mismatch", "url"),
        (5, "invalid_json_line", "method"),
        (6, "missing_required_parameter", "custom_id"),
        (7, "missing_required_parameter", "body.model"),
        (8, "invalid_json_line", "body"),
    ]
    assert batch.request_counts is not None
    assert batch.request_counts.total == 0
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    empty = ended(client, client.batches.create(**CREATE, input_file_id=upload(client, data=b"\n \n")))
    assert empty.errors is not None
    assert [one.code for one in empty.errors.data or []] == ["empty_file"]


def test_a_cancelled_batch_has_its_answers_and_a_line_for_all_others(client: openai.OpenAI) -> None:
    batch = start(client, request("quick"), *(request(f"slow {n}", "#silent") for n in range(300)))
    until(lambda: client.batches.retrieve(batch.id).request_counts.completed == 1)  # type: ignore[union-attr]
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    assert cancelled.cancelling_at is not None
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 301, "completed": 1, "failed": 300}
    assert list(read(client, batch.output_file_id)) == ["quick"]
    errors = read(client, batch.error_file_id)
    assert set(errors) == {f"slow {n}" for n in range(300)}
    assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
    assert all(line["response"] is None for line in errors.values())
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'cancelled'"):
        client.batches.cancel(batch.id)


def test_batches_are_listed_newest_first_in_pages(client: openai.OpenAI) -> None:
    made = [start(client, request("one")).id for _ in range(3)]
    assert [one.id for one in client.batches.list(limit=2)][:3] == made[::-1]
    page = client.batches.list(limit=1)
    assert page.has_more
    with pytest.raises(openai.NotFoundError):
        client.batches.list(after=UNKNOWN)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
        ({"output_expires_after": 3600}, "output_expires_after"),
        ({"input_file_id": None}, "input_file_id"),
    ],
)
def test_wrong_fields_are_refused(client: openai.OpenAI, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        client.batches.create(**(CREATE | {"input_file_id": "file-x"} | wrong))
    assert refused.value.param == words


def test_files_and_batches_that_are_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.batches.create(**CREATE, input_file_id="file-01ARZ3NDEKTSV4RRFFQ69G5FAV")
    for batch_id in (UNKNOWN, "batch_x", "x%00"):
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve(batch_id)
        with pytest.raises(openai.NotFoundError):
            client.batches.cancel(batch_id)


def test_results_are_no_input(client: openai.OpenAI) -> None:
    batch = ended(client, start(client, request("one")))
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(**CREATE, input_file_id=str(batch.output_file_id))


def test_batches_are_their_owners(daemon: Daemon, client: openai.OpenAI) -> None:
    batch = ended(client, start(client, request("one")))
    with connect(daemon, "SECRET-B") as bob:
        with pytest.raises(openai.NotFoundError):
            bob.batches.retrieve(batch.id)
        with pytest.raises(openai.NotFoundError):
            bob.batches.cancel(batch.id)
        with pytest.raises(openai.NotFoundError):
            bob.files.content(str(batch.output_file_id))
        with pytest.raises(openai.NotFoundError):
            bob.batches.create(**CREATE, input_file_id=batch.input_file_id)
        assert list(bob.batches.list()) == []
    with connect(daemon, "boss") as boss:
        assert boss.batches.retrieve(batch.id).id == batch.id


def test_a_repeated_request_makes_one_batch(client: openai.OpenAI) -> None:
    file = upload(client, request("one"))
    first = client.batches.create(**CREATE, input_file_id=file)
    again = client.batches.create(**CREATE, input_file_id=file, extra_headers={"x-stainless-retry-count": "1"})
    assert again.id == first.id
    assert client.batches.create(**CREATE, input_file_id=file).id != first.id


def test_an_input_may_be_deleted_once_its_batch_is_there(client: openai.OpenAI) -> None:
    batch = start(client, *(request(str(n)) for n in range(20)))
    client.files.delete(batch.input_file_id)
    batch = ended(client, batch)
    assert len(read(client, batch.output_file_id)) == 20


def test_the_native_routes_show_the_same_batch(daemon: Daemon, client: openai.OpenAI) -> None:
    batch = ended(client, start(client, request("one"), request("two", "#status=400")))
    with httpx2.Client(base_url=daemon.url, headers={"Authorization": "Bearer SECRET-A"}, trust_env=False) as http:
        shown = http.get(f"/batches/{batch.id}").json()
        assert (shown["batch_id"], shown["state"], shown["total"]) == (batch.id, "completed", 2)
        assert (shown["done"], shown["failed"], shown["owner"]) == (1, 1, "alice")
        assert http.get(shown["links"]["output"]).status_code == 200
        jobs = http.get(shown["links"]["jobs"]).json()["jobs"]
        assert [(job["custom_id"], job["state"], job["priority"]) for job in jobs] == [
            ("two", "failed", "low"),
            ("one", "done", "low"),
        ]
        assert {job["batch_id"] for job in jobs} == {batch.id}
        refused = http.delete(f"/jobs/{jobs[0]['job_id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "line_of_batch")
        assert http.post(f"/batches/{batch.id}/cancel").status_code == 409
        assert http.get(f"/batches/{UNKNOWN}").json()["code"] == "batch_not_found"
        assert http.get("/jobs?batch_id=x").status_code == 422


def test_results_come_in_the_order_of_the_requests(daemon: Daemon, client: openai.OpenAI) -> None:
    """Answers and errors by turns, then those that never ran: out of both files."""
    asked = [request(str(n), "#status=400" if n % 3 == 1 else "#echo " + n * "x") for n in range(20)]
    batch = ended(client, start(client, *asked))
    with httpx2.Client(base_url=daemon.url, headers={"Authorization": "Bearer SECRET-A"}, trust_env=False) as http:
        answer = http.get(http.get(f"/batches/{batch.id}").json()["links"]["results"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        found = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["custom_id"] for line in found] == [str(n) for n in range(20)]
        both = read(client, batch.output_file_id) | read(client, batch.error_file_id)
        assert {line["custom_id"]: line for line in found} == both

        batch = start(client, request("quick"), *(request(f"slow {n}", "#silent") for n in range(300)))
        until(lambda: client.batches.retrieve(batch.id).request_counts.completed == 1)  # type: ignore[union-attr]
        refused = http.get(f"/batches/{batch.id}/results")
        assert (refused.status_code, refused.json()["code"]) == (409, "batch_not_ended")
        client.batches.cancel(batch.id)
        batch = ended(client, batch)
        answer = http.get(f"/batches/{batch.id}/results")
        names = [json.loads(line)["custom_id"] for line in answer.text.splitlines()]
        assert names == ["quick", *(f"slow {n}" for n in range(300))]

        client.files.delete(str(batch.error_file_id))
        refused = http.get(f"/batches/{batch.id}/results")
        assert (refused.status_code, refused.json()["code"]) == (404, "file_not_found")
        assert http.get(f"/batches/{UNKNOWN}/results").json()["code"] == "batch_not_found"
        wrong = ended(client, client.batches.create(**CREATE, input_file_id=upload(client, data=b"{")))
        answer = http.get(f"/batches/{wrong.id}/results")
        assert (answer.status_code, answer.content) == (200, b"")
    with connect(daemon, "SECRET-B") as bob, pytest.raises(openai.NotFoundError):
        bob.get(f"{daemon.url}/batches/{batch.id}/results", cast_to=bytes)


def test_sixty_lines_over_a_kill_are_each_answered_once(tmp_path: Path, upstream: Upstream) -> None:
    """SIGKILL in the middle: each line is in one of the files, once, and the counts are right."""
    bad = {7, 17, 27, 37, 47, 57}
    lines = [request(str(n), f"#status=400 {n}" if n in bad else f"#slow=0.02 {n}") for n in range(60)]
    with Daemon(tmp_path / "data", openai_url=upstream.url, slots=2) as daemon:
        with connect(daemon, "any") as client:
            batch = start(client, *lines)
            until(lambda: client.batches.retrieve(batch.id).request_counts.completed >= 15)  # type: ignore[union-attr]
        daemon.kill()
        daemon.start()
        with connect(daemon, "any") as client:
            batch = ended(client, batch)
            assert batch.status == "completed"
            assert batch.request_counts is not None
            assert batch.request_counts.model_dump() == {"total": 60, "completed": 54, "failed": 6}
            output, errors = read(client, batch.output_file_id), read(client, batch.error_file_id)
        assert set(output) == {str(n) for n in range(60) if n not in bad}
        assert set(errors) == {str(n) for n in bad}
        assert list(output) == sorted(output, key=int)
        assert daemon.errors == []


def test_a_batch_past_its_window_expires_with_what_is_done(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, slots=2, batch_window=3) as daemon:
        with connect(daemon, "any") as client:
            lines = [request("quick"), *(request(f"slow {n}", "#silent") for n in range(300))]
            batch = ended(client, start(client, *lines))
            assert batch.status == "expired"
            assert batch.expired_at is not None
            assert batch.expires_at is not None
            assert batch.expired_at >= batch.expires_at
            assert list(read(client, batch.output_file_id)) == ["quick"]
            errors = read(client, batch.error_file_id)
            assert len(errors) == 300
            assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}
        assert daemon.errors == []


def test_an_interactive_call_waits_for_one_line_at_most(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, slots=1) as daemon:
        with connect(daemon, "any") as client:
            batch = start(client, *(request(str(n), "#slow=0.01") for n in range(200)))
            until(lambda: client.batches.retrieve(batch.id).request_counts.completed > 0)  # type: ignore[union-attr]
            for n in range(5):
                client.chat.completions.create(model="a", messages=[{"role": "user", "content": f"now {n}"}])
            assert client.batches.retrieve(batch.id).status == "in_progress"
            shown = daemon.http.get("/metrics").text
            assert 'foreman_batches_open{state="in_progress"} 1.0' in shown
            assert re.search(r"^foreman_batch_lines_left [1-9]", shown, re.MULTILINE)
            client.batches.cancel(batch.id)
            ended(client, batch)
        jobs = daemon.http.get("/jobs?limit=500").json()["jobs"]
        calls = [job for job in jobs if job["batch_id"] is None]
        assert len(calls) == 5
        for call in calls:
            between = [
                job
                for job in jobs
                if job["batch_id"] and job["started_at"] and call["created_at"] < job["started_at"] < call["started_at"]
            ]
            assert len(between) <= 1
        assert daemon.errors == []


def test_a_batch_larger_than_the_queue_is_fed_and_others_have_room(tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "data", openai_url=upstream.url, max_queue=10) as daemon:
        with connect(daemon, "any") as client:
            batch = start(client, *(request(str(n), "#slow=0.005") for n in range(100)))
            until(lambda: client.batches.retrieve(batch.id).request_counts.completed > 0)  # type: ignore[union-attr]
            for n in range(3):
                said = client.chat.completions.create(model="a", messages=[{"role": "user", "content": f"now {n}"}])
                assert said.choices
            batch = ended(client, batch)
            assert batch.request_counts is not None
            assert batch.request_counts.completed == 100
        assert daemon.errors == []
