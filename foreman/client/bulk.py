"""Many payloads, cut into requests that Foreman takes; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from foreman.client.types import Submitted
from foreman.client.writing import encode

LINES = 10_000  # of one request: so few that there is news every second, so many that requests cost nothing
MOST_LINES = 100_000  # that Foreman takes in one request
BYTES = 8 * 2**20  # of one request; Foreman takes 64 MiB, unless it was told to take less
TOO_LARGE = "body_too_large"


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one request."""

    first: int  # the number of the first line; 1 is the first of all
    lines: list[bytes]

    @property
    def body(self) -> bytes:
        return b"\n".join(self.lines)

    def halves(self) -> tuple[Part, Part]:
        middle = len(self.lines) // 2
        return Part(self.first, self.lines[:middle]), Part(self.first + middle, self.lines[middle:])

    def numbered(self, answer: Submitted) -> Submitted:
        """The answer with the numbers that its lines have among all."""
        before = self.first - 1
        return Submitted(
            answer.accepted,
            answer.rejected,
            [msgspec.structs.replace(taken, line=taken.line + before) for taken in answer.jobs],
            [msgspec.structs.replace(error, line=error.line + before) for error in answer.errors],
            last=before + len(self.lines),
        )


def parts(payloads: Iterable[Mapping[str, Any] | bytes], *, lines: int = LINES, size: int = BYTES) -> Iterator[Part]:
    """Cut payloads into requests of up to `lines` lines and about `size` bytes; one that is larger goes alone.

    A payload of bytes is a line of JSON as it stands; an empty one is sent too, so that every line keeps its number.
    """
    if not 1 <= lines <= MOST_LINES:
        raise ValueError(f"a request takes 1 to {MOST_LINES} lines; given: {lines}")
    first, held, weight = 1, list[bytes](), 0
    for payload in payloads:
        line = payload.rstrip(b"\r\n") if isinstance(payload, bytes) else encode(payload)
        if b"\n" in line:
            raise ValueError("a payload must be one line")
        if held and (len(held) == lines or weight + len(line) >= size):
            yield Part(first, held)
            first, held, weight = first + len(held), [], 0
        held.append(line)
        weight += len(line) + 1
    if held:
        yield Part(first, held)


def together(answers: Sequence[Submitted]) -> Submitted:
    """The answers to all parts as one."""
    return Submitted(
        sum(answer.accepted for answer in answers),
        sum(answer.rejected for answer in answers),
        [taken for answer in answers for taken in answer.jobs],
        [error for answer in answers for error in answer.errors],
        last=answers[-1].last if answers else 0,
    )


def too_large(answer: Submitted) -> bool:
    """Whether Foreman refused the request for its size, and stored nothing of it."""
    return not answer.accepted and any(error.code == TOO_LARGE for error in answer.errors)
