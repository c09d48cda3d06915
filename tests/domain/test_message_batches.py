"""Message batches: the requests of a body, and the lines of the results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.batch_answers import LOST, error_artifact, read_failure
from foreman.domain.batch_input import LineInvalid, Lines
from foreman.domain.batch_kinds.anthropic import Anthropic
from foreman.domain.batch_kinds.message_requests import lines, read_requests, slices
from foreman.domain.batches import FinishedLine
from foreman.domain.errors import (
    AttemptTimeout,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    ModelNotFound,
    TargetFailed,
    TargetRefused,
)

KIND = Anthropic()
DONE = FinishedLine(0, "01J", "x", "done", None, None)


def refused(status: int, body: bytes) -> TargetRefused:
    error = TargetRefused(status, "no")
    error.status, error.body = status, body
    return error


def body(*requests: Any, **layout: Any) -> bytes:
    return json.dumps({"requests": requests}, **layout).encode(errors="replace")


def request(custom_id: str = "x", **params: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": {"model": "m", "max_tokens": 1} | params}


def written(asked: bytes) -> bytes:
    return b"".join(lines(some) for _, some in slices(read_requests(asked).requests))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_a_request_is_the_same_once_it_was_a_line(texts: list[str], indent: int | None, ascii_only: bool) -> None:
    asked = body(*(request(str(n), text=text) for n, text in enumerate(texts)), indent=indent, ensure_ascii=ascii_only)
    found = list(Lines().feed(written(asked)))
    assert len(found) == len(texts)
    for number, line in enumerate(found):
        read = KIND.read(line.data, "/v1/messages")
        assert (read.custom_id, read.refusal) == (str(number), None)
        assert KIND.custom_id(line.data, "/v1/messages") == str(number)
        assert (read.submission.model, read.submission.own) == ("m", {})
        meant = json.loads(asked)["requests"][number]["params"]["text"].encode(errors="replace").decode()
        # A half of a surrogate pair is no text: it is replaced.
        got = json.loads(bytes(read.submission.payload["text"]))
        assert got == meant or "\ufffd" in got


def test_many_requests_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = read_requests(body(*(request(str(n), text="x" * 2**17) for n in range(9))))
    pieces = [len(some) for _, some in slices(asked.requests)]
    assert (sum(pieces), len(pieces)) == (9, 3)


def test_a_batch_has_a_model_if_all_its_requests_have_one() -> None:
    assert read_requests(body(request("1"), request("2"))).model == "m"
    for other in ("n", 5, None, "\0", ""):
        assert read_requests(body(request("1"), request("2", model=other))).model is None
    assert read_requests(body(request("1", model="\0"))).model is None


@pytest.mark.parametrize("custom_id", ["", "a b", "é", "a\n", "x" * 65, 5, None, "a\0", "\ud800"])
def test_a_custom_id_has_few_characters(custom_id: Any) -> None:
    with pytest.raises((FieldInvalid, InvalidJson)) as error:
        read_requests(body(request("1"), request() | {"custom_id": custom_id}))
    assert "\n" not in str(error.value)
    assert len(read_requests(body(request("aZ09_-" + "x" * 58))).requests) == 1


def test_a_batch_has_some_requests_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KIND.most_lines == 100_000
    monkeypatch.setattr(Anthropic, "most_lines", 3)
    assert len(read_requests(body(*(request(str(n)) for n in range(3)))).requests) == 3
    for number in (0, 4):
        with pytest.raises(FieldInvalid):
            read_requests(body(*(request(str(n)) for n in range(number))))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, None),
        ({"model": "a\0"}, "model"),
        ({"model": 5}, "model"),
        ({"stream": True}, "stream"),
        ({"stream": "yes"}, "stream"),
        ({"speed": "fast"}, "speed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
    ],
)
def test_what_is_wrong_with_params_is_the_result_of_that_request(params: dict[str, Any], field: str | None) -> None:
    read = KIND.read(written(body(request(**params))), "/v1/messages")
    assert read.refusal is not None
    assert getattr(read.refusal, "field", None) == field
    failed = DONE._replace(state="failed", error=str(read.refusal), error_code=read.refusal.code)
    result = json.loads(KIND.failed(failed, read_failure(failed, error_artifact(read.refusal).data)))
    assert result["result"]["error"]["error"]["type"] == "invalid_request_error"


def test_params_with_too_many_fields_are_a_result_too() -> None:
    read = KIND.read(written(body({"custom_id": "x", "params": {str(n): 1 for n in range(60_000)}})), "/v1/messages")
    assert isinstance(read.refusal, InvalidJson)


def test_no_stream_is_what_a_batch_has() -> None:
    read = KIND.read(written(body(request(stream=False))), "/v1/messages")
    assert (read.refusal, sorted(read.submission.payload)) == (None, ["max_tokens", "model"])


@pytest.mark.parametrize("data", [None, b"", b"{}", b'{"custom_id":5,"params":{}}', b"\xff"])
def test_a_stored_line_that_was_changed_is_no_request(data: bytes | None) -> None:
    for read in (KIND.read, KIND.custom_id):
        with pytest.raises(LineInvalid):
            read(data, "/v1/messages")


@given(st.text(), st.text(max_size=20))
def test_every_result_is_one_line_for_every_client(text: str, name: str) -> None:
    text = text.encode(errors="replace").decode()
    answer = json.dumps({"a": text}, ensure_ascii=False, indent=1).encode()
    found = KIND.answered(DONE, answer)
    assert len(found.decode().splitlines()) == 1
    assert json.loads(found) == {"custom_id": "x", "result": {"type": "succeeded", "message": {"a": text}}}
    failed = KIND.failed(DONE, read_failure(DONE._replace(error=text), None))
    assert len(failed.decode().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            refused(400, b'{"type":"error","error":{"type":"invalid_request_error","message":"own"}}'),
            "invalid_request_error",
        ),
        (refused(422, b'{"error":{"message":"own","type":"BadRequestError"}}'), "invalid_request_error"),
        (refused(413, b'{"error":{"message":"own"}}'), "invalid_request_error"),
        (refused(404, b'{"error":{"message":"own"}}'), "not_found_error"),
        (refused(429, b'{"error":{"message":"own"}}'), "rate_limit_error"),
        (refused(403, b'{"error":{"message":"own"}}'), "permission_error"),
        (refused(400, b'{"error":{"message":5}}'), "invalid_request_error"),
        (refused(401, b""), "api_error"),
        (TargetFailed("t", "no"), "api_error"),
        (AttemptTimeout(3.0), "timeout_error"),
        (ModelNotFound("m"), "not_found_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(error: ForemanError, kind: str) -> None:
    failed = DONE._replace(state="failed", error=str(error), error_code=error.code)
    result = json.loads(KIND.failed(failed, read_failure(failed, error_artifact(error).data)))["result"]
    assert (result["type"], result["error"]["type"], result["error"]["request_id"]) == ("errored", "error", None)
    assert result["error"]["error"]["type"] == kind
    assert isinstance(result["error"]["error"]["message"], str)


def test_what_was_not_executed_has_a_result() -> None:
    found = [json.loads(KIND.unanswered(DONE, f"batch_{end}")) for end in ("cancelled", "expired", "failed")]
    assert [one["result"]["type"] for one in found] == ["canceled", "expired", "errored"]
    assert json.loads(KIND.failed(DONE, LOST))["result"]["error"]["error"]["type"] == "api_error"
