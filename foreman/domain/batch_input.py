"""The input of a batch: lines of JSON, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from foreman.domain.batches import LONGEST_LINE
from foreman.domain.errors import ForemanError
from foreman.domain.intake import Submission

INVALID, MISSING = "invalid_json_line", "missing_required_parameter"


class RawLine(NamedTuple):
    """A line of the input that is not blank."""

    number: int  # 1 is the first, with blank ones
    data: bytes | None  # None when it is too long
    end: int  # bytes of the input up to its end, with the line end


class Request(NamedTuple):
    """A line of the input, read."""

    custom_id: str | None
    submission: Submission  # with Foreman's own fields, for kinds that have any
    refusal: ForemanError | None = None  # what its job fails with


class LineInvalid(Exception):
    """A line that cannot become a job."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Lines:
    """A splitter of the input into lines, given piece by piece, that holds no more than the longest line."""

    def __init__(self, *, begin: int = 0, longest: int = LONGEST_LINE) -> None:
        """Take lines of up to `longest` bytes; `begin` is the place of the first piece in the input."""
        self._longest = longest
        self._rest = bytearray()
        self._skipped = 0  # bytes of a line that is too long
        self._end = begin
        self._number = 0

    @property
    def held(self) -> int:
        """Return the bytes of the line that has not ended."""
        return len(self._rest)

    def feed(self, piece: bytes) -> Iterator[RawLine]:
        """Yield the lines that end in a piece."""
        begin = 0
        while (found := piece.find(b"\n", begin)) >= 0:
            self._add(piece[begin:found])
            begin = found + 1
            yield from self._line(end=1)
        self._add(piece[begin:])

    def finish(self) -> Iterator[RawLine]:
        """Yield the last line when it has no line end."""
        if self._rest or self._skipped:
            yield from self._line(end=0)

    def _add(self, data: bytes) -> None:
        if self._skipped or len(self._rest) + len(data) > self._longest:
            self._skipped += len(self._rest) + len(data)
            self._rest.clear()
        else:
            self._rest += data

    def _line(self, *, end: int) -> Iterator[RawLine]:
        data, too_long = bytes(self._rest), bool(self._skipped)
        self._number += 1
        self._end += len(data) + self._skipped + end
        self._rest.clear()
        self._skipped = 0
        if too_long or data.strip(b" \t\r"):
            yield RawLine(self._number, None if too_long else data, self._end)
