"""GET /jobs/{id}/stream, /events and /artifacts: what a job says, while it runs and ever after."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from foreman.http.framing import Ndjson, Sse
from tests.http.conftest import Api, words_in
from tests.support.foreman import until

SSE = {"Accept": "text/event-stream"}
SLOW = "#chunks=12 #every=0.05"
ALL = "".join(f"w{n} " for n in range(12))


def sse_data(text: str) -> list[Any]:
    """The data of the events; comments are left out."""
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


@pytest.mark.every_store
def test_a_stream_brings_the_chunks_as_they_come_and_the_closing_one(api: Api) -> None:
    job_id = api.submit(SLOW)
    states = []
    with api.http.stream("GET", f"/jobs/{job_id}/stream") as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = response.iter_lines()
        chunks = [json.loads(next(lines))]
        with api.daemon.client() as other:
            states.append(other.get(f"/jobs/{job_id}").json()["state"])
        chunks += [json.loads(line) for line in lines]
    assert states[0] in {"loading", "working"}  # that it works is stored beside its first chunks, not before them
    assert (words_in(chunks), [chunk["done"] for chunk in chunks[-2:]]) == (ALL, [False, True])


@pytest.mark.every_store
def test_who_has_the_closing_chunk_finds_the_job_done(api: Api) -> None:
    for _ in range(10):
        job_id = api.submit("#chunks=1")
        with api.http.stream("GET", f"/jobs/{job_id}/stream") as response:
            for line in response.iter_lines():
                if json.loads(line)["done"]:
                    with api.daemon.client() as other:
                        assert other.get(f"/jobs/{job_id}").json()["state"] == "done"


def test_server_sent_events_carry_the_same(api: Api) -> None:
    job_id = api.submit(SLOW)
    response = api.http.get(f"/jobs/{job_id}/stream", headers=SSE)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, end = sse_data(response.text)
    assert (words_in(chunks), chunks[-1]["done"], end) == (ALL, True, "[DONE]")


def test_a_late_reader_starts_at_the_first_chunk(api: Api) -> None:
    job_id = api.submit(SLOW)
    with api.http.stream("GET", f"/jobs/{job_id}/stream") as response:
        lines = response.iter_lines()
        first = [next(lines) for _ in range(6)]
        with api.daemon.client() as late:
            text = late.get(f"/jobs/{job_id}/stream").text
        first += list(lines)
    assert text.splitlines() == first


@pytest.mark.every_store
def test_after_the_end_the_stored_answer_comes_as_one_chunk(api: Api) -> None:
    job_id = api.submit("#chunks=5")
    api.ended(job_id)
    [answer] = api.lines(job_id)
    assert (answer["message"]["content"], answer["done"]) == ("w0 w1 w2 w3 w4 ", True)
    events = sse_data(api.http.get(f"/jobs/{job_id}/stream", headers=SSE).text)
    assert events == [answer, "[DONE]"]


@pytest.mark.parametrize("frame", [Ndjson(), Sse("/v1/messages"), Sse("/v1/chat/completions")])
def test_whatever_is_in_a_value_its_readers_find_it_on_one_line(frame: Ndjson | Sse) -> None:
    value = {"type": "x", "text": "a\u2028b\u2029c\x85d\x0be\x1cf\r\ng\U0001f389", "number": 1.50}
    for text in (json.dumps(value, ensure_ascii=False), json.dumps(value, ensure_ascii=False, indent=2)):
        lines = [line for line in frame.chunk(text.encode()).decode().splitlines() if "{" in line]
        assert [json.loads(line.removeprefix("data: ")) for line in lines] == [value]


def test_a_stream_is_never_empty_whenever_its_reader_comes(api: Api) -> None:
    for _ in range(40):
        job_id = api.submit("#chunks=1")
        assert words_in(api.lines(job_id)) == "w0 "


@pytest.mark.every_store
def test_a_retried_attempt_is_told_and_starts_over(api: Api) -> None:
    lines = api.lines(api.submit("told of a retry #break=2 #chunks=3"))
    notices = [line["foreman"]["attempt"] for line in lines if "foreman" in line]
    assert set(notices) <= {2, 3}
    last = max(n for n, line in enumerate(lines) if "foreman" in line)
    assert words_in(lines[last + 1 :]) == "w0 w1 w2 "
    assert words_in(lines[:last]).startswith("w0")


def test_a_job_that_fails_ends_its_stream_with_the_reason(api: Api) -> None:
    job_id = api.submit("#status=400")
    [live] = api.lines(job_id)
    [later] = api.lines(job_id)
    assert live == later
    assert "told to by #status=400" in live["error"]
    assert live["foreman"] == {"state": "failed"}


def test_a_waiting_job_says_nothing_but_comments(api: Api) -> None:
    job_id = api.submit("later", not_before="2090-01-01T00:00:00Z")
    with api.daemon.client() as reader, reader.stream("GET", f"/jobs/{job_id}/stream", headers=SSE) as response:
        said = next(response.iter_lines())
    assert said.startswith(":")
    api.http.post(f"/jobs/{job_id}/cancel")
    [end] = api.lines(job_id)
    assert (end["error"], end["foreman"]) == ("the job was cancelled", {"state": "cancelled"})


def test_many_readers_follow_one_job(api: Api) -> None:
    api.http.post("/queue/pause")
    try:
        job_id = api.submit(SLOW)
        with httpx2.Client(base_url=api.daemon.url, trust_env=False) as client, ExitStack() as stack:
            streams = [client.stream("GET", f"/jobs/{job_id}/stream", headers=SSE) for _ in range(8)]
            opened = [stack.enter_context(stream) for stream in streams]  # each has its head before the job begins
            api.http.post("/queue/resume")
            texts = [[line for line in reader.iter_lines() if line.startswith("data: {")] for reader in opened]
    finally:
        api.http.post("/queue/resume")
    assert all(text == texts[0] for text in texts)
    assert words_in([json.loads(line.removeprefix("data: ")) for line in texts[0]]) == ALL


def test_a_reader_that_leaves_does_not_disturb_the_job(api: Api) -> None:
    job_id = api.submit(SLOW)
    with api.http.stream("GET", f"/jobs/{job_id}/stream") as response:
        next(response.iter_lines())
    assert api.ended(job_id)["state"] == "done"


@pytest.mark.every_store
def test_the_events_of_a_job_are_its_steps_in_order(api: Api) -> None:
    job_id = api.submit("#break=1", custom_id="mine")
    api.ended(job_id)
    events = api.http.get(f"/jobs/{job_id}/events").json()["events"]
    # A model that is resident when its job is claimed is not loaded, and says so in the same moment.
    assert [event["state"] for event in events] == [
        "queued",
        "loading",
        "working",
        "queued",
        "loading",
        "working",
        "done",
    ]
    assert [event["previous_state"] for event in events] == ["", *(event["state"] for event in events[:-1])]
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    assert {event["attempt"] for event in events} == {0, 1, 2}
    assert {(event["type"], event["custom_id"], event["model"]) for event in events} == {("state", "mine", "a")}


def test_an_artifact_is_given_raw_with_headers_that_keep_it_from_running(api: Api) -> None:
    job_id = api.submit("#chunks=3")
    job = api.ended(job_id)
    response = api.http.get(f"/jobs/{job_id}/artifacts/completion")
    assert response.json() == job["result"]
    headers = response.headers
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(response.content) == job["artifacts"][0]["size"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert api.http.get(f"/jobs/{job_id}/artifacts/other").json()["code"] == "artifact_not_found"


def test_an_artifact_that_is_known_is_not_sent_again(api: Api) -> None:
    path = f"/jobs/{api.ended(api.submit('x'))['job_id']}/artifacts/completion"
    etag = api.http.get(path).headers["etag"]
    again = api.http.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.every_store
def test_a_part_of_an_artifact_may_be_asked_for(api: Api) -> None:
    path = f"/jobs/{api.ended(api.submit('#chunks=9'))['job_id']}/artifacts/completion"
    whole = api.http.get(path).content
    part = api.http.get(path, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole)}"
    assert api.http.get(path, headers={"Range": "bytes=-4"}).content == whole[-4:]
    assert api.http.get(path, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_a_large_artifact_is_given_by_its_url(api: Api) -> None:
    job = api.ended(api.submit("y" * 300_000 + " #echo"))
    [artifact] = job["artifacts"]
    assert artifact["size"] > 262_144
    assert "data" not in artifact
    assert len(api.http.get(artifact["url"]).content) == artifact["size"]
    until(api.healthy)
