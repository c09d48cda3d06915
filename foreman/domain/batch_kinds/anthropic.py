"""Anthropic's message batches: requests come in the body of one call, and all results are one file."""

from __future__ import annotations

import msgspec

from foreman.domain.batch_answers import Failure, one_line
from foreman.domain.batch_input import INVALID, LineInvalid, Request
from foreman.domain.batches import CANCELLED_CODE, EXPIRED_CODE, MESSAGES, FinishedLine
from foreman.domain.errors import FieldInvalid, ForemanError, InvalidJson, ModelRequired
from foreman.domain.fields import begin_of, size_of
from foreman.domain.intake import Submission, read_model, read_stream
from foreman.domain.json_objects import read_object

ERROR_TYPES = {  # of results, by the status of the answer
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
INVALID_REQUEST, API_ERROR = "invalid_request_error", "api_error"
UNANSWERED = {CANCELLED_CODE: b'{"type":"canceled"}', EXPIRED_CODE: b'{"type":"expired"}'}
NO_MODEL = "unknown"  # the model of a job whose request has none: lists leave out jobs without one


class _Line(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


_decode = msgspec.json.Decoder(_Line).decode


class Anthropic:
    """How Anthropic's API writes requests and results."""

    name = "anthropic"
    most_lines = 100_000
    own_files = False

    def read(self, data: bytes | None, endpoint: str) -> Request:
        """Return a line as `message_requests` wrote it. Raise LineInvalid."""
        line = _read(data)
        payload: dict[str, msgspec.Raw] = {}
        model = NO_MODEL
        refusal: ForemanError | None = None
        try:
            payload = read_object(bytes(line.params))
            model = read_model(payload)
            _check(payload)
        except (FieldInvalid, InvalidJson, ModelRequired) as error:
            refusal = error
        return Request(line.custom_id, Submission(model, {}, payload, size_of(line.params)), refusal)

    def custom_id(self, data: bytes | None, endpoint: str) -> str | None:
        """Return the custom_id of a line. Raise LineInvalid."""
        return _read(data).custom_id

    def answered(self, line: FinishedLine, answer: bytes) -> bytes:
        """Return the result of a request that was answered."""
        return _result(line.custom_id, b'{"type":"succeeded","message":%s}' % answer)

    def failed(self, line: FinishedLine, failure: Failure) -> bytes:
        """Return the result of a request that failed."""
        message = failure.body["error"].get("message")
        kind = _type_of(failure.status_code)  # servers of other APIs have types of their own
        return _errored(line.custom_id, kind, message if isinstance(message, str) else "the request failed")

    def unanswered(self, line: FinishedLine, code: str) -> bytes:
        """Return the result of a request that was not executed."""
        if code in UNANSWERED:
            return _result(line.custom_id, UNANSWERED[code])
        return _errored(line.custom_id, API_ERROR, MESSAGES[code])


def _read(data: bytes | None) -> _Line:
    try:
        return _decode(data or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineInvalid(INVALID, f"The stored request cannot be read: {error}.") from None


def _check(params: dict[str, msgspec.Raw]) -> None:
    """Check what a batch does not allow; the target checks the rest. Raise FieldInvalid."""
    if read_stream(params):
        raise FieldInvalid("stream", "true", "must not be set in a batch")
    params.pop("stream", None)
    if "speed" in params:
        raise FieldInvalid("speed", begin_of(params["speed"]), "must not be set in a batch")
    given = bytes(params.get("max_tokens", b"1"))
    if not given.isdigit() or not int(given[:20]):
        raise FieldInvalid("max_tokens", begin_of(params["max_tokens"]), "must be a whole number of at least 1")


def _type_of(status: int) -> str:
    return ERROR_TYPES.get(status, INVALID_REQUEST if 400 <= status < 500 else API_ERROR)


def _errored(custom_id: str | None, kind: str, message: str) -> bytes:
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}
    return _result(custom_id, msgspec.json.encode({"type": "errored", "error": error}))


def _result(custom_id: str | None, result: bytes) -> bytes:
    return one_line(b'{"custom_id":%s,"result":%s}' % (msgspec.json.encode(custom_id), result))
