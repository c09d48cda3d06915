"""What a kind of batch has to say: how its API writes requests and results."""

from __future__ import annotations

from typing import Protocol

from foreman.domain.batch_answers import Failure
from foreman.domain.batch_input import Request
from foreman.domain.batches import FinishedLine


class Kind(Protocol):
    """A kind of batch, named after the API that makes it. Results are bytes that end with a line end."""

    @property
    def name(self) -> str:
        """The `kind` of its batches."""

    @property
    def most_lines(self) -> int:
        """The number of requests that a batch may have."""

    @property
    def own_files(self) -> bool:
        """True when answers and errors are a file each; False when all results are one file, part of the batch."""

    def read(self, data: bytes | None, endpoint: str) -> Request:
        """Return a line of the input, None for one that is too long; raise LineInvalid when it can be no job."""

    def custom_id(self, data: bytes | None, endpoint: str) -> str | None:
        """Return the custom_id of a line that was checked. Raise LineInvalid."""

    def answered(self, line: FinishedLine, answer: bytes) -> bytes:
        """Return the result of a request that was answered."""

    def failed(self, line: FinishedLine, failure: Failure) -> bytes:
        """Return the result of a request that failed."""

    def unanswered(self, line: FinishedLine, code: str) -> bytes:
        """Return the result of a request that was not executed; `code` is one of MESSAGES."""
