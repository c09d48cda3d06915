"""The lines of a batch's output and error files, and the answers to lines that failed."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.batches import CANCELLED_CODE, MESSAGES, FinishedLine
from foreman.domain.errors import (
    AttemptTimeout,
    FieldInvalid,
    ForemanError,
    LoadTimeout,
    ModelNotFound,
    TargetError,
    TargetRefused,
    TargetSilent,
)
from foreman.domain.job import Artifact, State

ERROR = "error"  # the artifact with the answer to a line that failed
JSON = "application/json"

# Clients split files with str.splitlines, which takes these for ends of lines; JSON has them in strings only.
_BREAKS = {"\u2028".encode(): rb"\u2028", "\u2029".encode(): rb"\u2029", "\u0085".encode(): rb"\u0085"}
_NOT_OURS = (401, 407)  # Foreman's token is between Foreman and the target


class Failure(msgspec.Struct, frozen=True):
    """The answer to a line that failed, as the file has it."""

    status_code: int
    body: dict[str, Any]


def error_artifact(error: ForemanError) -> Artifact:
    """Return the answer to a line that failed with an error, as an artifact of its job."""
    body = _own_error(error.body) if isinstance(error, TargetRefused) else None
    failure = Failure(status := _status(error), body or _error(str(error), error.code, status))
    return Artifact(name=ERROR, content_type=JSON, data=msgspec.json.encode(failure))


def output_line(line: FinishedLine, answer: bytes) -> bytes:
    """Return the line of the output file for a job that is done."""
    return _line(line.job_id, line.custom_id, response=_response(200, line.job_id, answer))


def error_line(line: FinishedLine, failure: bytes | None) -> bytes:
    """Return the line of the error file for a job that is not done; `failure` is its artifact `error`, if any."""
    if line.state != State.FAILED:
        code = line.error_code or ""
        return unanswered_line(line.job_id, line.custom_id, code if code in MESSAGES else CANCELLED_CODE)
    found = msgspec.json.decode(failure, type=Failure) if failure else None
    if found is None:  # it could not be read, and was set aside
        found = Failure(500, _error(line.error or "the request failed", line.error_code, 500))
    response = _response(found.status_code, line.job_id, msgspec.json.encode(found.body))
    return _line(line.job_id, line.custom_id, response=response)


def unanswered_line(id: str, custom_id: str, code: str) -> bytes:
    """Return the line of the error file for a request that was not executed."""
    error = msgspec.json.encode({"code": code, "message": MESSAGES[code]})
    return _line(id, custom_id, error=error)


def _line(id: str, custom_id: str, *, response: bytes = b"null", error: bytes = b"null") -> bytes:
    head = msgspec.json.encode({"id": f"batch_req_{id}", "custom_id": custom_id})
    return _unbroken(b'%s,"response":%s,"error":%s}' % (head[:-1], response, error)) + b"\n"


def _response(status: int, job_id: str, body: bytes) -> bytes:
    return b'{"status_code":%d,"request_id":"%s","body":%s}' % (status, job_id.encode(), body)


def _unbroken(line: bytes) -> bytes:
    """Return JSON on one line, also for clients that know more ends of lines than JSON."""
    line = line.replace(b"\n", b" ").replace(b"\r", b" ")  # between values: in strings they are escaped
    for sign, escaped in _BREAKS.items():
        line = line.replace(sign, escaped)
    return line


def _own_error(body: bytes) -> dict[str, Any] | None:
    """Return the body of a target's refusal if it has OpenAI's shape."""
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found.get("error"), dict) else None


def _error(message: str, code: str | None, status: int) -> dict[str, Any]:
    kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _status(error: ForemanError) -> int:
    """Return the HTTP status of the answer to a line."""
    match error:
        case TargetRefused():
            return error.status if 400 <= error.status < 600 and error.status not in _NOT_OURS else 502
        case TargetSilent() | AttemptTimeout() | LoadTimeout():
            return 504
        case TargetError():
            return 502
        case ModelNotFound():
            return 404
        case FieldInvalid():
            return 400
    return 500
