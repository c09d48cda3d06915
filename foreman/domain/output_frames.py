"""The output of a job on its way from the node that runs it to another: lines, and chunks after theirs; its error."""

from __future__ import annotations

import msgspec

from foreman.domain.answers.chunk import NO_LABEL, Label, Usage, named
from foreman.domain.errors import Cost, ForemanError, TargetRefused

PAUSE = b"\n"  # an empty line while nothing comes
END = b"end\n"  # the job is done, and all of its answer was sent
LONGEST_LINE = 4096  # bytes


class Began(msgspec.Struct, frozen=True):
    """An attempt begins: chunks sent in another turn are void."""

    attempt: int
    turn: int


class Piece(msgspec.Struct, frozen=True):
    """A chunk of the answer."""

    data: bytes
    label: Label


class Ended(msgspec.Struct, frozen=True):
    """The job is done, and its answer is whole."""


class ShownError(msgspec.Struct, frozen=True, kw_only=True):
    """The error of a job, with the HTTP status that the job's own node answers it with."""

    status: int
    message: str
    code: str
    cost: str
    hint: str | None = None
    retry_after: float | None = None  # seconds

    def error(self) -> ForemanError:
        """Return the error that is answered alike."""
        error = TargetRefused(self.status, self.message)  # whose status is its own
        error.code, error.cost = self.code, Cost(self.cost)
        error.hint, error.retry_after = self.hint, self.retry_after
        return error


class Malformed(ValueError):
    """The bytes are not what `FrameReader` reads."""


def began(attempt: int, turn: int) -> bytes:
    """Return the line that begins an attempt."""
    return b"attempt %d %d\n" % (attempt, turn)


def before_chunk(size: int, label: Label) -> bytes:
    """Return the line before a chunk of `size` bytes."""
    return b"chunk %d %s %s\n" % (size, label.usage.value.encode(), label.name or b"")


class FrameReader:
    """Reads what the functions above write."""

    def __init__(self) -> None:
        self.expected = 0  # bytes of the chunk that is being received
        self._label = NO_LABEL
        self._in_chunk = False
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Began | Piece | Ended]:
        """Return what is complete with these bytes. Raise Malformed."""
        self._data += data
        found: list[Began | Piece | Ended] = []
        begin = 0
        while True:
            if self._in_chunk:
                if len(self._data) - begin < self.expected:
                    break
                found.append(Piece(bytes(self._data[begin : begin + self.expected]), self._label))
                begin += self.expected
                self.expected, self._in_chunk = 0, False
                continue
            end = self._data.find(b"\n", begin, begin + LONGEST_LINE)
            if end < 0:
                if len(self._data) - begin >= LONGEST_LINE:
                    raise Malformed("a line that is too long")
                break
            line, begin = bytes(self._data[begin:end]), end + 1
            if line and (frame := self._read(line)):
                found.append(frame)
        del self._data[:begin]
        return found

    def _read(self, line: bytes) -> Began | Ended | None:
        """Return what a line says; None for one before a chunk."""
        kind, _, rest = line.partition(b" ")
        try:
            if line + b"\n" == END:
                return Ended()
            if kind == b"attempt":
                attempt, turn = map(int, rest.split(b" "))
                return Began(attempt, turn)
            if kind == b"chunk":
                size, usage, name = rest.split(b" ", 2)
                self.expected, self._in_chunk = int(size), True
                self._label = named(name or None, Usage(usage.decode()))
                if self.expected < 0:
                    raise Malformed("a chunk of a negative size")
                return None
        except ValueError as error:
            raise Malformed(f"the line {line[:40]!r}") from error
        raise Malformed(f"the line {line[:40]!r}")
