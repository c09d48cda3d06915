"""Foreman's own batches: each request is a body of POST /jobs, and all results are one file."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from foreman.domain.batch_answers import Failure, one_line
from foreman.domain.batch_input import INVALID, LineInvalid, Request
from foreman.domain.batches import FinishedLine
from foreman.domain.errors import FieldInvalid, InvalidJson, ModelRequired
from foreman.domain.intake import read_submission

DEFAULT_ENDPOINT = "/api/chat"  # of a request without one


class Native:
    """How Foreman writes requests and results."""

    name = "native"
    most_lines = 100_000  # as many as one request of POST /jobs takes
    own_files = False

    def read(self, data: bytes | None, endpoint: str) -> Request:
        """Return a line, which was checked when it was submitted. Raise LineInvalid."""
        try:
            submission = read_submission(data or b"", now=math.inf)  # times were checked, too
        except (FieldInvalid, InvalidJson, ModelRequired) as error:
            raise LineInvalid(INVALID, f"The stored request cannot be read: {error}.") from None
        submission.own.setdefault("endpoint", DEFAULT_ENDPOINT)
        return Request(submission.own.get("custom_id"), submission)

    def custom_id(self, data: bytes | None, endpoint: str) -> str | None:
        """Return the custom_id of a line, None without one. Raise LineInvalid."""
        return self.read(data, endpoint).custom_id

    def answered(self, line: FinishedLine, answer: bytes) -> bytes:
        """Return the result of a request that was answered."""
        return _line(line, b'"result":%s' % answer)

    def failed(self, line: FinishedLine, failure: Failure) -> bytes:
        """Return the result of a request that failed."""
        return _unanswered(line)

    def unanswered(self, line: FinishedLine, code: str) -> bytes:
        """Return the result of a request that was not executed."""
        return _unanswered(line)


def _unanswered(line: FinishedLine) -> bytes:
    return _line(line, msgspec.json.encode({"error": line.error, "error_code": line.error_code})[1:-1])


def _line(line: FinishedLine, rest: bytes) -> bytes:
    head: dict[str, Any] = {
        "line": line.line + 1,
        "job_id": line.job_id if line.is_job else None,
        "custom_id": line.custom_id,
        "state": line.state,
    }
    return one_line(b"%s,%s}" % (msgspec.json.encode(head)[:-1], rest))
