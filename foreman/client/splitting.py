"""Split many payloads into requests of a size that Foreman accepts; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from foreman.client.types import Submitted
from foreman.client.writing import encode

LINES = 10_000  # per request: few enough for progress every second, enough to make the cost of a request negligible
MOST_LINES = 100_000  # that Foreman accepts in one request
BYTES = 8 * 2**20  # per request; Foreman accepts 64 MiB unless max_body is lower
TOO_LARGE = "body_too_large"


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of one request."""

    first: int  # number of the first line, counted from 1 over all requests
    lines: list[bytes]

    @property
    def body(self) -> bytes:
        """The lines as NDJSON."""
        return b"\n".join(self.lines)

    def halves(self) -> tuple[Part, Part]:
        """Return two parts with half of the lines each."""
        middle = len(self.lines) // 2
        return Part(self.first, self.lines[:middle]), Part(self.first + middle, self.lines[middle:])

    def numbered(self, answer: Submitted) -> Submitted:
        """Return the answer with line numbers counted over all requests."""
        before = self.first - 1
        return Submitted(
            answer.accepted,
            answer.rejected,
            [msgspec.structs.replace(taken, line=taken.line + before) for taken in answer.jobs],
            [msgspec.structs.replace(error, line=error.line + before) for error in answer.errors],
            last=before + len(self.lines),
        )


def parts(payloads: Iterable[Mapping[str, Any] | bytes], *, lines: int = LINES, size: int = BYTES) -> Iterator[Part]:
    """Split payloads into requests of up to `lines` lines and about `size` bytes; send a larger payload alone.

    A payload of bytes is taken as one line of JSON. An empty line is sent too, so that line numbers stay right.
    Raise ValueError when `lines` is out of range or a payload is not one line.
    """
    if not 1 <= lines <= MOST_LINES:
        raise ValueError(f"lines must be 1 to {MOST_LINES}; given: {lines}")
    first, held, weight = 1, list[bytes](), 0
    for payload in payloads:
        line = payload.rstrip(b"\r\n") if isinstance(payload, bytes) else encode(payload)
        if b"\n" in line:
            raise ValueError("a payload of bytes must be one line of JSON, without a line break")
        if held and (len(held) == lines or weight + len(line) >= size):
            yield Part(first, held)
            first, held, weight = first + len(held), [], 0
        held.append(line)
        weight += len(line) + 1
    if held:
        yield Part(first, held)


def together(answers: Sequence[Submitted]) -> Submitted:
    """Return the answers to all parts as one answer."""
    return Submitted(
        sum(answer.accepted for answer in answers),
        sum(answer.rejected for answer in answers),
        [taken for answer in answers for taken in answer.jobs],
        [error for answer in answers for error in answer.errors],
        last=answers[-1].last if answers else 0,
    )


def too_large(answer: Submitted) -> bool:
    """Return True if Foreman refused the request for its size and stored nothing of it."""
    return not answer.accepted and any(error.code == TOO_LARGE for error in answer.errors)
