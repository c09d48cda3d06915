"""What Foreman answers, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from foreman.domain import views
from foreman.domain.errors import InvalidJson, ModelRequired
from foreman.domain.job import Job, JobEvent, Priority, State

AT = 1_700_000_000.1239
STORED = Job(
    id="01HF0000000000000000000000",
    state=State.DONE,
    model="a",
    key="a",
    endpoint="/api/chat",
    priority=Priority.HIGH,
    attempt=1,
    max_attempts=3,
    fence=1,
    created_at=AT,
    since=AT,
)


def keys(view: msgspec.Struct) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(view))
    return shown


def test_a_fault_is_shown_with_its_code_and_its_remedy() -> None:
    assert keys(views.show_error(ModelRequired())) == {"error": "model is required", "code": "model_required"}
    assert list(keys(views.show_error(InvalidJson("why")))) == ["error", "code", "hint"]


def test_times_are_written_to_the_millisecond_and_read_as_times() -> None:
    shown = views.show_job(views.Job, STORED, result=msgspec.Raw(b'{"a": 1}'), artifacts=[])
    assert keys(shown)["created_at"] == "2023-11-14T22:13:20.123Z"
    read = msgspec.json.decode(msgspec.json.encode(shown), type=views.Job)
    assert read.created_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert (read.started_at, read.result, read.priority, read.ended) == (None, {"a": 1}, "high", True)


def test_a_listed_job_has_no_keys_of_a_result() -> None:
    listed, whole = keys(views.show_listed(STORED)), keys(views.show_job(views.Job, STORED))
    assert list(whole) == [*listed, "why", "result", "artifacts"]


@pytest.mark.parametrize(
    ("view", "left_out"),
    [
        (views.Health("ok"), {"target_error"}),
        (views.Rejected(1, "no"), {"hint"}),
        (views.Artifact("a", "text/plain", 0, data=""), {"encoding", "url"}),
        (views.Artifact("a", "text/plain", 9, url="/jobs"), {"encoding", "data"}),
        (views.StreamMessage(foreman=views.StreamStatus(attempt=2)), {"error", "code", "hint"}),
        (views.Queue(0), set()),
        (views.Accepted("J"), set()),
        (views.Page([]), set()),
    ],
)
def test_a_key_is_left_out_only_where_its_view_says_so(view: msgspec.Struct, left_out: set[str]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(view)} - keys(view).keys() == left_out


def test_an_encoded_view_stands_for_itself() -> None:
    event = JobEvent(seq=1, job_id="J", state=State.QUEUED, previous=None, at=AT, model="a", attempt=0)
    shown = views.show_event(event)
    page = views.Events([views.encoded(shown), shown], next=2)
    first, second = msgspec.json.decode(msgspec.json.encode(page), type=views.Events).events
    assert first == second
    assert (first.previous_state, first.type) == ("", "state")
    assert views.size_of(page.events[0]) == len(msgspec.json.encode(shown))


def test_a_reader_takes_what_a_later_foreman_sends_and_does_without_what_an_earlier_one_leaves_out() -> None:
    assert msgspec.json.decode(b'{"status":"well","new":1}', type=views.Health).status == "well"
    job = {"job_id": "J", "state": "queued", "model": "a", "created_at": "2030-01-01T00:00:00Z"}
    read = msgspec.convert(job | {"endpoint": "/v2/new", "priority": "top", "queue_position": 0}, views.Job)
    assert (read.endpoint, read.priority, read.artifacts) == ("/v2/new", "top", [])
