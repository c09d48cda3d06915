"""Many payloads, and the feed."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.client import Client, ConnectFailed, NotForeman, Refused
from foreman.client.splitting import parts
from foreman.domain.job import State
from tests.cli.conftest import an_app
from tests.client.conftest import StaticAnswer


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" "))), st.integers(1, 5))
def test_parts_hold_every_line_once_with_its_number_and_within_their_limits(payloads: list[bytes], lines: int) -> None:
    found = list(parts(payloads, lines=lines, size=40))
    assert [line for part in found for line in part.lines] == [payload.rstrip(b"\r\n") for payload in payloads]
    first = 1
    for part in found:
        assert part.first == first
        assert 1 <= len(part.lines) <= lines
        assert len(part.body) <= 40 or len(part.lines) == 1
        first += len(part.lines)


def test_a_payload_of_two_lines_is_no_payload() -> None:
    with pytest.raises(ValueError, match="one line"):
        list(parts([b"{}\n{}"]))


def test_many_payloads_are_sent_in_parts_and_answered_as_one(told: StaticAnswer) -> None:
    bad = {"line": 1, "error": "model is required", "code": "model_required"}
    told.answer("POST /jobs", {"accepted": 1, "rejected": 0, "jobs": [{"line": 1, "job_id": "J1"}], "errors": []}, 202)
    told.answer("POST /jobs", {"accepted": 0, "rejected": 1, "jobs": [], "errors": [bad]}, 422)
    large = {"model": "m", "prompt": "x" * 9_000_000}
    with Client() as client:
        done = client.submit_many([large, b"{}\r\n"])
    assert (done.accepted, done.rejected, done.last) == (1, 1, 2)
    assert [(taken.line, taken.job_id) for taken in done.jobs] == [(1, "J1")]
    assert [(error.line, error.code) for error in done.errors] == [(2, "model_required")]
    assert [headers["Content-Type"] for _, headers, _ in told.asked] == ["application/x-ndjson"] * 2
    assert json.loads(told.asked[0][2]) == large


def test_a_body_too_large_is_sent_in_halves(told: StaticAnswer) -> None:
    refusal = {"error": "the request body is larger than 9 bytes", "code": "body_too_large", "hint": "raise it"}
    one = {"accepted": 1, "rejected": 0, "jobs": [{"line": 1, "job_id": "J"}], "errors": []}
    for answer, status in ((refusal, 413), (one, 202), (refusal, 413)):
        told.answer("POST /jobs", answer, status)
    with Client() as client:
        done = client.submit_many([b"1", b"2"])
    assert [body for _, _, body in told.asked] == [b"1\n2", b"1", b"2"]
    assert [taken.line for taken in done.jobs] == [1]
    assert [(error.line, error.code, error.hint) for error in done.errors] == [(2, "body_too_large", "raise it")]


def test_nothing_is_sent_for_no_payloads(told: StaticAnswer) -> None:
    with Client() as client:
        assert client.submit_many([]).accepted == 0
    assert told.asked == []


def test_the_feed_goes_on_where_its_connection_broke(told: StaticAnswer) -> None:
    told.stream("GET /events", hello(7), b": ping\n\n" + event(8)[:-9], whole=False)
    told.stream("GET /events", hello(9), event(8), event(9), b'id: 10\ndata: {"type":"st', whole=False)
    told.stream("GET /events", hello(11), event(10), event(11))
    with Client() as client:
        feed = client.feed(model=["a", "b"], state=["done"])
        assert [event.seq for event in islice(feed, 4)] == [8, 9, 10, 11]
    asked = "GET /events?model=a&model=b&state=done"
    assert [path for path, _, _ in told.asked] == [asked, f"{asked}&after=7", f"{asked}&after=9"]
    assert told.asked[0][1]["Accept"] == "text/event-stream"


def test_a_feed_that_never_began_or_is_pruned_is_a_fault(told: StaticAnswer) -> None:
    told.answer("GET /events", {"error": "after: no longer kept", "code": "cursor_gone"}, 410)
    with Client() as client, pytest.raises(Refused) as caught:
        next(client.feed(after=1))
    assert (caught.value.status, caught.value.code) == (410, "cursor_gone")
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConnectFailed):
        next(client.feed())


def test_a_feed_that_talks_nonsense_is_not_foremans(told: StaticAnswer) -> None:
    told.stream("GET /events", b"data: hello\n\n")
    with Client() as client, pytest.raises(NotForeman, match="/events"):
        next(client.feed())


def test_the_feed_lives_through_a_killed_foreman_without_gap_or_repetition(tmp_path: Path) -> None:
    with an_app(tmp_path) as app, app.client() as client:
        feed, told = client.feed(after=0), []
        for _ in range(2):
            done = client.submit_many([{"model": "a", "messages": [], "custom_id": f"{n}"} for n in range(5)])
            left = {taken.job_id for taken in done.jobs}
            while left:
                told.append(event := next(feed))
                if event.state is State.DONE:
                    left.remove(event.job_id)
            app.daemon.kill()
            app.daemon.start()
        ids = {event.job_id for event in told}
        kept = [event for job_id in ids for event in client.events(job_id)]
        assert sorted(kept, key=lambda event: event.seq) == told
        assert len(ids) == 10


def hello(seq: int) -> bytes:
    return b"data: " + msgspec.json.encode({"type": "hello", "seq": seq, "oldest": 1}) + b"\n\n"


def event(seq: int) -> bytes:
    shown: dict[str, Any] = {"seq": seq, "job_id": "J", "state": "done", "timestamp": "2026-01-02T03:04:05Z"}
    return b"id: %d\ndata: %s\n\n" % (seq, msgspec.json.encode({"type": "state", **shown}))
