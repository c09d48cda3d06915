"""The events of a stored response, of odd answers and odd histories."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest

from foreman.budget import Budget
from foreman.domain.endpoints.responses import ENDPOINT
from foreman.domain.errors import TargetGarbled
from foreman.domain.job import Job, Priority, State, load_key
from foreman.domain.responses.conversation import fields_of
from foreman.http.compat import response_stream
from foreman.http.compat.responses import without_input

ODD: list[Any] = [5, [1], {"a": 1}, [{"content": 5}], [{"content": [1]}], [{"content": [{"type": [1]}]}]]


def a_job() -> Job:
    return Job(
        id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
        state=State.DONE,
        model="a",
        key=load_key("a"),
        endpoint=ENDPOINT.path,
        priority=Priority.NORMAL,
        attempt=1,
        max_attempts=3,
        fence=1,
        created_at=1.0,
        since=1.0,
    )


@pytest.mark.parametrize("output", ODD)
def test_a_stored_answer_of_an_odd_shape_is_an_error_that_is_told(output: Any) -> None:
    answer = msgspec.json.encode({"object": "response", "status": "completed", "output": output})
    with pytest.raises(TargetGarbled, match="unknown shape"):
        response_stream._unfolded(a_job(), {}, answer)


@pytest.mark.parametrize("kind", [5, ["response.created"], {"a": 1}, True])
def test_an_event_whose_type_is_no_text_is_refused(kind: Any) -> None:
    with pytest.raises(TargetGarbled, match="unknown shape"):
        ENDPOINT.decoder("box").take(msgspec.json.encode({"type": kind, "delta": "x"}))


@pytest.mark.parametrize(("size", "told"), [(10, 900), (1000, 900), (10_000, 1), (2_000_000, 1)])
def test_filling_the_numbers_of_a_broken_off_attempt_has_a_limit_of_bytes(size: int, told: int) -> None:
    payload = fields_of(msgspec.json.encode({"instructions": "x" * size, "background": True}))
    with Budget().lease() as lease:
        events = response_stream._Events(None, a_job(), payload, None, lease, -1)  # type: ignore[arg-type]
        filled = list(events._until(900))
    assert len(filled) == told
    assert sum(map(len, filled)) < 2**21 + 2 * size


def test_a_reader_keeps_nothing_of_a_large_input() -> None:
    body = msgspec.json.encode({"model": "a", "input": "x" * 2**23, "stream": True})
    tracemalloc.start()
    try:
        shown = without_input(fields_of(bytes(bytearray(body))))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {*shown} == {"model", "stream"} and held < 2**20
