"""Batches: the lines of the input, and those of the files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.batch_answers import error_artifact, read_failure
from foreman.domain.batch_check import Check
from foreman.domain.batch_input import LineInvalid, Lines
from foreman.domain.batch_kinds.openai import OpenAI
from foreman.domain.batches import FinishedLine
from foreman.domain.errors import (
    AttemptTimeout,
    FieldInvalid,
    ForemanError,
    Interrupted,
    ModelNotFound,
    TargetFailed,
    TargetRefused,
)

CHAT = "/v1/chat/completions"
OPENAI = OpenAI()


def line(custom_id: str = "1", **fields: Any) -> bytes:
    plain = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "m"}}
    return json.dumps({name: value for name, value in (plain | fields).items() if value is not None}).encode()


@given(st.lists(st.sampled_from([b"a", b"bb", b"", b" \r", b"long enough"])), st.integers(1, 7), st.booleans())
def test_lines_are_the_same_however_the_input_is_cut(some: list[bytes], size: int, ends: bool) -> None:
    whole = b"\n".join(some) + (b"\n" if ends else b"")
    lines = Lines(longest=5)
    found = [one for start in range(0, len(whole), size) for one in lines.feed(whole[start : start + size])]
    found += lines.finish()
    expected = [
        (number, None if len(one) > 5 else one) for number, one in enumerate(whole.split(b"\n"), 1) if one.strip(b" \r")
    ]
    assert [(one.number, one.data) for one in found] == expected
    for one in found:  # each end is where the next line begins
        rest = list(Lines(longest=5).feed(whole[one.end :] + b"\n"))
        assert [again.data for again in rest] == [data for number, data in expected if number > one.number]


def test_a_line_is_read_with_its_body() -> None:
    request = OPENAI.read(line("a", body={"model": "m", "messages": []}), CHAT)
    assert request.custom_id == "a"
    assert (request.submission.model, sorted(request.submission.payload)) == ("m", ["messages", "model"])


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (None, "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b"{", "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        (line(""), "invalid_json_line", "custom_id"),
        (line("x" * 513), "invalid_json_line", "custom_id"),
        (line("a\0"), "invalid_json_line", "custom_id"),
        (line(custom_id=1), "invalid_json_line", "custom_id"),  # type: ignore[arg-type]
        (line(method="post"), "invalid_json_line", "method"),
        (line(method=None), "missing_required_parameter", "method"),
        (line(url="/v1/embeddings"), "url_mismatch", "url"),
        (line(url=None), "missing_required_parameter", "url"),
        (line(body=None), "missing_required_parameter", "body"),
        (line(body=[]), "invalid_json_line", "body"),
        (line(body={}), "missing_required_parameter", "body.model"),
        (line(body={"model": 5}), "invalid_json_line", "body.model"),
    ],
)
def test_what_is_wrong_with_a_line_has_a_code(data: bytes | None, code: str, param: str | None) -> None:
    with pytest.raises(LineInvalid) as found:
        OPENAI.read(data, CHAT)
    assert (found.value.code, found.value.param) == (code, param)
    assert "\n" not in str(found.value)


def test_a_custom_id_is_the_one_that_was_checked() -> None:
    for data in (line("a"), b' {"custom_id":"b","custom_id":"a"}', line("a").replace(b'"m"', b'"\xff"')):
        assert OPENAI.custom_id(data, CHAT) == "a"
    with pytest.raises(LineInvalid):
        OPENAI.custom_id(None, CHAT)


def checked(data: bytes) -> Check:
    check = Check(OPENAI, CHAT)
    check.feed(data)
    check.finish()
    return check


def test_a_good_input_has_a_model_if_all_lines_have_one() -> None:
    one, two = line("1"), line("2", body={"model": "n"})
    assert (checked(one).total, checked(one).model, checked(one).faults) == (1, "m", [])
    both = checked(one + b"\n\n" + two + b"\n")
    assert (both.total, both.model, both.faults) == (2, None, [])


def test_an_input_has_few_faults_and_not_too_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OPENAI.most_lines == 50_000
    assert [fault.code for fault in checked(b"").faults] == ["empty_file"]
    assert len(checked(b"{\n" * 5000).faults) == 1000
    monkeypatch.setattr(OpenAI, "most_lines", 3)
    assert checked(b"\n".join(line(str(n)) for n in range(3))).faults == []
    assert [fault.code for fault in checked(b"\n".join(line(str(n)) for n in range(9))).faults] == ["too_many_tasks"]


def test_a_custom_id_is_used_once() -> None:
    [fault] = checked(line("1") + b"\n" + line("2") + b"\n" + line("1")).faults
    assert (fault.code, fault.line, fault.param) == ("duplicate_custom_id", 3, "custom_id")


DONE = FinishedLine(0, "01J", "x", "done", None, None)


@given(st.text(), st.text())
def test_every_line_is_one_line_for_every_client(custom_id: str, text: str) -> None:
    answer = json.dumps({"a": text}, ensure_ascii=False, indent=1).encode(errors="replace")
    written = OPENAI.answered(DONE._replace(custom_id=custom_id.encode(errors="replace").decode()), answer)
    assert len(written.decode().splitlines()) == 1
    read = json.loads(written)
    assert read == {
        "id": "batch_req_01J",
        "custom_id": custom_id.encode(errors="replace").decode(),
        "response": {"status_code": 200, "request_id": "01J", "body": json.loads(answer)},
        "error": None,
    }


def refused(status: int, body: bytes) -> TargetRefused:
    error = TargetRefused(status, "no")
    error.status, error.body = status, body
    return error


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (refused(422, b'{"error":{"message":"own"}}'), 422, {"error": {"message": "own"}}),
        (refused(400, b'{"error":"text"}'), 400, None),
        (refused(400, b'{"error":{"mess'), 400, None),
        (refused(401, b""), 502, None),
        (TargetFailed("t", "no"), 502, None),
        (AttemptTimeout(3.0), 504, None),
        (ModelNotFound("m"), 404, None),
        (FieldInvalid("options", None, "must be smaller"), 400, None),
        (Interrupted(), 502, None),
    ],
)
def test_a_failed_line_has_the_status_of_its_error(
    error: ForemanError, status: int, body: dict[str, Any] | None
) -> None:
    failed = DONE._replace(state="failed", error=str(error), error_code=error.code)
    read = json.loads(OPENAI.failed(failed, read_failure(failed, error_artifact(error).data)))
    assert (read["error"], read["response"]["status_code"]) == (None, status)
    shown = read["response"]["body"]
    kind = "invalid_request_error" if status < 500 else "server_error"
    own = {"error": {"message": str(error), "type": kind, "param": None, "code": error.code}}
    assert shown == (body or own)


def test_a_line_without_an_answer_has_an_error() -> None:
    lost = DONE._replace(state="failed", error="job 01J cannot be read", error_code="job_unreadable")
    read = json.loads(OPENAI.failed(lost, read_failure(lost, None)))
    assert (read["response"]["status_code"], read["response"]["body"]["error"]["code"]) == (500, "job_unreadable")
    expired = json.loads(OPENAI.unanswered(DONE._replace(custom_id="x"), "batch_expired"))
    assert (expired["custom_id"], expired["response"]) == ("x", None)
    assert expired["error"] == {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
