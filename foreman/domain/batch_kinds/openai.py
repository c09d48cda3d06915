"""OpenAI's batches: a request names its method and path; answers and errors have a file each."""

from __future__ import annotations

import msgspec

from foreman.domain.batch_answers import Failure, one_line
from foreman.domain.batch_input import INVALID, MISSING, LineInvalid, Request
from foreman.domain.batches import MESSAGES, FinishedLine
from foreman.domain.errors import FieldInvalid, InvalidJson, ModelRequired
from foreman.domain.fields import begin_of
from foreman.domain.intake import Submission, read_model
from foreman.domain.json_objects import read_object

MOST_CUSTOM_ID = 512  # characters


class _Named(msgspec.Struct):
    custom_id: str


_decode_named = msgspec.json.Decoder(_Named).decode


class OpenAI:
    """How OpenAI's API writes requests and results."""

    name = "openai"
    most_lines = 50_000
    own_files = True

    def read(self, data: bytes | None, endpoint: str) -> Request:
        """Return a line of the input. Raise LineInvalid."""
        if data is None:
            raise LineInvalid(INVALID, "The line is longer than a request may be.")
        try:
            fields = read_object(data)
        except InvalidJson as error:
            raise LineInvalid(INVALID, f"This line is not a valid JSON object: {error}.") from None
        custom_id = _text(fields, "custom_id")
        if len(custom_id) > MOST_CUSTOM_ID or "\0" in custom_id:
            allowed = f"must have 1 to {MOST_CUSTOM_ID} characters, none U+0000"
            raise LineInvalid(INVALID, f"custom_id {allowed}.", "custom_id")
        if (method := _text(fields, "method")) != "POST":
            raise LineInvalid(INVALID, f"method must be POST, not {method!r:.40}.", "method")
        if (url := _text(fields, "url")) != endpoint:
            words = f"url must be {endpoint}, as the batch's endpoint, not {url!r:.80}."
            raise LineInvalid("url_mismatch", words, "url")
        if "body" not in fields:
            raise LineInvalid(MISSING, "Missing required parameter: 'body'.", "body")
        body = bytes(fields["body"])
        try:
            payload = read_object(body)
            return Request(custom_id, Submission(read_model(payload), {}, payload, len(body)))
        except InvalidJson as error:
            raise LineInvalid(INVALID, f"body must be a JSON object: {error}.", "body") from None
        except ModelRequired:
            raise LineInvalid(MISSING, "Missing required parameter: 'body.model'.", "body.model") from None
        except FieldInvalid as error:
            raise LineInvalid(INVALID, f"body.{error}.", "body.model") from None

    def custom_id(self, data: bytes | None, endpoint: str) -> str | None:
        """Return the custom_id of a line that was checked. Raise LineInvalid."""
        try:
            return _decode_named(data or b"").custom_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # of text that has to be mended first
            return self.read(data, endpoint).custom_id

    def answered(self, line: FinishedLine, answer: bytes) -> bytes:
        """Return the line of the output file for a request that was answered."""
        return _line(line.job_id, line.custom_id, response=_response(200, line.job_id, answer))

    def failed(self, line: FinishedLine, failure: Failure) -> bytes:
        """Return the line of the error file for a request that failed."""
        response = _response(failure.status_code, line.job_id, msgspec.json.encode(failure.body))
        return _line(line.job_id, line.custom_id, response=response)

    def unanswered(self, line: FinishedLine, code: str) -> bytes:
        """Return the line of the error file for a request that was not executed."""
        error = msgspec.json.encode({"code": code, "message": MESSAGES[code]})
        return _line(line.job_id, line.custom_id, error=error)


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    raw = fields.get(name)
    if raw is None:
        raise LineInvalid(MISSING, f"Missing required parameter: '{name}'.", name)
    try:
        value = msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise LineInvalid(INVALID, f"{name} must be text, not {begin_of(raw)!r:.40}.", name) from None
    if not value:
        raise LineInvalid(INVALID, f"{name} must not be empty.", name)
    return value


def _line(id: str, custom_id: str | None, *, response: bytes = b"null", error: bytes = b"null") -> bytes:
    head = msgspec.json.encode({"id": f"batch_req_{id}", "custom_id": custom_id})
    return one_line(b'%s,"response":%s,"error":%s}' % (head[:-1], response, error))


def _response(status: int, job_id: str, body: bytes) -> bytes:
    return b'{"status_code":%d,"request_id":"%s","body":%s}' % (status, job_id.encode(), body)
