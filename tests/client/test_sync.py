"""The client against a real server on the loopback."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from foreman.client import (
    Busy,
    Chunk,
    Client,
    ClientError,
    ConnectFailed,
    JobFailed,
    NotForeman,
    NotFound,
    Refused,
    StartsOver,
    Unauthorized,
)
from foreman.domain.job import State
from tests.client.conftest import StaticAnswer

JOB: dict[str, Any] = {
    "job_id": "J1",
    "state": "done",
    "model": "m",
    "created_at": "2026-01-02T03:04:05.678Z",
    "attempt": 1,
    "artifacts": [
        {"name": "image-0.png", "content_type": "image/png", "size": 2, "data": "AAE=", "encoding": "base64"}
    ],
    "result": {"message": {"content": "hello"}},
    "something_new": [1],
}


def test_a_job_is_typed_and_keys_of_a_newer_foreman_are_ignored(told: StaticAnswer) -> None:
    told.answer("GET /jobs/J1", JOB)
    with Client() as client:
        job = client.job("J1")
    assert job.state is State.DONE
    assert job.ended
    assert job.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert job.artifacts[0].content == b"\x00\x01"


def test_a_prompt_is_submitted_in_the_words_of_its_endpoint(told: StaticAnswer) -> None:
    told.answer("POST /jobs", {"job_id": "J1", "state": "queued", "queue_position": 3}, 202)
    with Client() as client:
        accepted = client.submit(
            "m",
            "hi",
            system="be brief",
            options={"seed": 1},
            idempotency_key="k",
            endpoint="/v1/responses",
            priority="low",
        )
    assert (accepted.job_id, accepted.queue_position) == ("J1", 3)
    _, headers, body = told.asked[0]
    assert headers["Idempotency-Key"] == "k"
    assert json.loads(body) == {
        "model": "m",
        "input": "hi",
        "instructions": "be brief",
        "seed": 1,
        "endpoint": "/v1/responses",
        "priority": "low",
    }


def test_the_token_comes_from_the_environment_and_of_several_the_first(
    told: StaticAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREMAN_TOKEN", "one, two")
    told.answer("GET /healthz", {"status": "ok", "degraded": True})
    with Client() as client:
        assert client.health().degraded
    assert told.asked[0][1]["Authorization"] == "Bearer one"


def test_proxies_of_the_environment_are_not_used(told: StaticAnswer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    told.answer("GET /healthz", {"status": "ok"})
    with Client() as client:
        assert client.health().status == "ok"


def test_pages_are_asked_for_by_cursor(told: StaticAnswer) -> None:
    told.answer("GET /jobs", {"jobs": [JOB], "next": "J1"})
    with Client() as client:
        page = client.jobs(state="done", limit=1, after="J2")
    assert page.next == "J1"
    assert told.asked[0][0] == "GET /jobs?limit=1&after=J2&state=done"


def test_metadata_are_asked_for_by_name(told: StaticAnswer) -> None:
    told.answer("GET /jobs", {"jobs": []})
    with Client() as client:
        client.jobs(target="gpu", metadata={"project": "sky", "a b": ""})
    assert told.asked[0][0] == "GET /jobs?target=gpu&metadata.project=sky&metadata.a+b="


def test_an_export_is_iterated_and_tells_when_it_broke_off(told: StaticAnswer) -> None:
    line = msgspec.json.encode({**JOB, "job_id": "J2"})
    told.answer("GET /jobs/export", line + b"\n" + line + b"\n" + line[:9])
    with Client() as client:
        found = client.export(state="done", metadata={"a": "b"}, limit=3)
        assert [next(found).job_id, next(found).job_id] == ["J2", "J2"]
        with pytest.raises(ConnectFailed, match="the jobs broke off"):
            next(found)
        assert b"".join(client.export_as("csv", after="J1")).startswith(line)
    assert told.asked[0][0] == "GET /jobs/export?format=ndjson&limit=3&state=done&metadata.a=b"
    assert told.asked[1][0] == "GET /jobs/export?format=csv&after=J1"


def test_names_cannot_leave_their_place_in_the_path(told: StaticAnswer) -> None:
    with Client() as client, pytest.raises(NotFound):
        client.artifact("../queue", "a/b?c")
    assert told.asked[0][0] == "GET /jobs/..%2Fqueue/artifacts/a%2Fb%3Fc"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorized", Unauthorized),
        (403, "host_not_allowed", Refused),
        (404, "job_not_found", NotFound),
        (409, "illegal_step", Refused),
        (503, "queue_full", Busy),
        (500, "internal_error", Refused),
    ],
)
def test_each_refusal_is_a_fault_of_its_own_type(
    told: StaticAnswer, status: int, code: str, kind: type[Refused]
) -> None:
    told.answer("GET /jobs/J1", {"error": "no", "code": code, "hint": "do this"}, status, Retry_After="7")
    with Client() as client, pytest.raises(Refused) as caught:
        client.job("J1")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, str(caught.value)) == (status, code, "no: do this")
    if isinstance(caught.value, Busy):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(("status", "body"), [(404, b"404 page not found"), (200, b"<html>"), (200, b'{"a": 1}')])
def test_what_is_not_a_foreman_is_called_so(told: StaticAnswer, status: int, body: bytes) -> None:
    told.answer("GET /jobs/J1", body, status)
    with Client() as client, pytest.raises(NotForeman, match="is not a foreman"):
        client.job("J1")


def test_nobody_there_says_what_to_do() -> None:
    with socket.socket() as probe:  # bound and not listening: refused for sure
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ConnectFailed) as caught:
            client.queue()
        with Client(url) as client, pytest.raises(ConnectFailed):
            client.run("m", "hi")  # however patient: there was never anybody
    assert str(caught.value) == f"no foreman at {url}: start one with 'foreman serve', or set FOREMAN_URL"


def test_a_silent_server_costs_the_timeout_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(ConnectFailed, match="no whole answer within 0.2 s"):
            client.queue()


def test_models_are_found_on_a_server_that_has_only_the_native_list(told: StaticAnswer) -> None:
    told.answer("GET /api/tags", {"models": [{"name": "a"}, {"name": "b"}]})
    with Client() as client:
        assert client.models() == ["a", "b"]


def test_a_stream_yields_chunks_and_notices_of_another_attempt(told: StaticAnswer) -> None:
    told.stream(
        "GET /jobs/J1/stream",
        b': waiting\n\ndata: {"message":{"content":"on',
        b'e\xe2\x80\xa8"}}\n\ndata: {"foreman":{"attempt":2}}\n\n',
        b'data: {"message":{"content":"two"},"done":true}\n\ndata: [DONE]\n\n',
    )
    told.answer("GET /jobs/J1", JOB)
    with Client() as client:
        first, notice, last = client.stream("J1")
    assert isinstance(first, Chunk)
    assert first.text == "one\u2028"
    assert notice == StartsOver(2)
    assert last == Chunk({"message": {"content": "two"}, "done": True})


def test_a_stream_that_breaks_is_taken_up_again_and_starts_over(told: StaticAnswer) -> None:
    told.stream("GET /jobs/J1/stream", b'{"response":"on"}\n', media="application/x-ndjson", whole=False)
    told.stream("GET /jobs/J1/stream", b'{"response":"one"}\n', media="application/x-ndjson")
    told.answer("GET /jobs/J1", JOB)
    with Client() as client:
        pieces = list(client.stream("J1"))
    assert pieces == [Chunk({"response": "on"}), StartsOver(1), Chunk({"response": "one"})]


def test_a_stream_that_ends_before_its_job_is_taken_up_again(told: StaticAnswer) -> None:
    told.stream("GET /jobs/J1/stream")
    told.stream("GET /jobs/J1/stream", b'data: {"response":"one"}\n\n')
    told.answer("GET /jobs/J1", JOB | {"state": "queued"})
    told.answer("GET /jobs/J1", JOB)
    with Client() as client:
        assert list(client.stream("J1")) == [Chunk({"response": "one"})]


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
@pytest.mark.parametrize("breaks", [False, True])
def test_the_stream_of_a_job_that_is_not_done_ends_in_its_fault_after_what_came(
    told: StaticAnswer, state: str, breaks: bool
) -> None:
    if breaks:
        told.stream("GET /jobs/J1/stream", b'data: {"response":"o', whole=False)
    notice = b'data: {"error":"it fell over","foreman":{"state":"%s"}}\n\n' % state.encode()
    told.stream("GET /jobs/J1/stream", b'data: {"response":"one"}\n\n', notice)
    told.answer("GET /jobs/J1", JOB | {"state": state, "error": "it fell over", "error_code": "target_failed"})
    came: list[Chunk | StartsOver] = []
    with Client() as client, pytest.raises(JobFailed, match=f"job J1 (was )?{state}: it fell over") as caught:
        came.extend(client.stream("J1"))  # what came before the fault is kept
    assert came == [Chunk({"response": "one"})]
    assert (caught.value.job.state, caught.value.code) == (state, "target_failed")


def test_the_stream_of_an_unknown_job_is_a_fault_at_once(told: StaticAnswer) -> None:
    told.answer("GET /jobs/J1/stream", {"error": "job not found", "code": "job_not_found"}, 404)
    with Client() as client, pytest.raises(NotFound, match="job not found"):
        next(client.stream("J1"))


def test_a_stream_that_always_breaks_is_given_up(told: StaticAnswer) -> None:
    told.stream("GET /jobs/J1/stream", b": waiting\n\n", whole=False)
    told.answer("GET /jobs/J1", JOB)
    with Client() as client, pytest.raises(ConnectFailed, match="cannot reach foreman"):
        list(client.stream("J1", retry_for=0.3))


DEEP = json.dumps(JOB)[:-1].encode() + b', "result": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.mark.parametrize(
    ("answer", "status", "headers"),
    [
        (DEEP, 200, {}),
        (b'{"error": {"a": ' + b"[" * 5000, 500, {}),
        (json.dumps(JOB | {"created_at": "2026-01-02T03:04:05"}).encode(), 200, {}),
        (b"no gzip", 200, {"Content_Encoding": "gzip"}),
    ],
    ids=["nested", "nested fault", "time without a zone", "no gzip"],
)
def test_whatever_answers_comes_to_a_fault_of_ours(
    told: StaticAnswer, answer: bytes, status: int, headers: dict[str, str]
) -> None:
    told.answer("GET /jobs/J1", answer, status, **headers)
    with Client() as client, pytest.raises(ClientError):
        client.job("J1")


def test_nobody_asks_for_a_pause_without_end(told: StaticAnswer) -> None:
    told.answer("GET /jobs/J1", {"error": "busy"}, 503, Retry_After="9" * 400)
    with Client() as client, pytest.raises(Busy) as busy:
        client.job("J1")
    assert busy.value.retry_after == 3600
