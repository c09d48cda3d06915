"""The answers to lines of a batch that failed, and results on one line."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.batches import FinishedLine
from foreman.domain.errors import (
    AttemptTimeout,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    LoadTimeout,
    ModelNotFound,
    ModelRequired,
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


LOST_CODE, LOST_TEXT = "answer_missing", "the stored answer to this request is missing"
LOST = Failure(500, {"error": {"message": LOST_TEXT, "type": "server_error", "param": None, "code": LOST_CODE}})


def error_artifact(error: ForemanError) -> Artifact:
    """Return the answer to a line that failed with an error, as an artifact of its job."""
    body = _own_error(error.body) if isinstance(error, TargetRefused) else None
    failure = Failure(status := _status(error), body or _error(str(error), error.code, status))
    return Artifact(name=ERROR, content_type=JSON, data=msgspec.json.encode(failure))


def read_failure(line: FinishedLine, data: bytes | None) -> Failure:
    """Return the answer to a line that failed; `data` is its job's artifact `error`, None when that is missing."""
    try:
        return msgspec.json.decode(data or b"", type=Failure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the job was set aside, or the artifact is lost
        return Failure(500, _error(line.error or "the request failed", line.error_code, 500))


def lost(line: FinishedLine) -> FinishedLine:
    """Return a line that was answered as one that failed, since its answer is lost."""
    return line._replace(state=State.FAILED.value, error=LOST_TEXT, error_code=LOST_CODE)


def one_line(json: bytes) -> bytes:
    """Return JSON on one line with a line end, also for clients that know more ends of lines than JSON."""
    json = json.replace(b"\n", b" ").replace(b"\r", b" ")  # between values: in strings they are escaped
    for sign, escaped in _BREAKS.items():
        json = json.replace(sign, escaped)
    return json + b"\n"


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
        case FieldInvalid() | InvalidJson() | ModelRequired():
            return 400
    return 500
