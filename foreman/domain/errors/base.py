"""The base of all expected errors: code, cost and hint."""

from __future__ import annotations

import json
from enum import Enum


class Cost(Enum):
    """The cost of an error for the attempt it ends."""

    NOTHING = "nothing"  # the target never had the request: queued again, attempt not spent
    ATTEMPT = "attempt"  # attempt spent; queued again until `max_attempts`
    JOB = "job"  # another attempt cannot help: the job fails


class ForemanError(Exception):
    """An expected error; its text is one sentence that is safe to show to any caller."""

    code: str = "internal_error"  # public: add codes, never rename one
    cost: Cost = Cost.JOB
    hint: str | None = None  # the remedy, if there is one


class Unavailable(ForemanError):
    """A temporary refusal; the same call may succeed later."""

    retry_after: float = 5  # seconds


class Internal(ForemanError):
    """A bug, as callers see it: without details."""

    code = "internal_error"

    def __init__(self, message: str = "internal error") -> None:
        super().__init__(message)


def as_json(value: object) -> str:
    """Return a value of a caller as JSON text, for the sentence of an error."""
    return json.dumps(value, default=str, ensure_ascii=False)
