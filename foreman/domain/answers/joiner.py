"""Joining of streamed chunks into the final answer, in the non-streaming shape of its endpoint; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.failures import ODD
from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.errors import TargetError, TargetFailed, TargetGarbled

MOST_PARTS = 250_000  # items and members in a joined answer; each takes hundreds of bytes


class Answer:
    """One answer as it grows; the cost is linear in the bytes added."""

    def __init__(self, joiner: Joiner, failure: Callable[[dict[str, Any]], str | None], target: str) -> None:
        """Add with `joiner`; `failure` returns the message of a value that reports a failure, else None."""
        self.size = 0  # bytes added so far; memory use is at most a small multiple
        self._joiner = joiner
        self._failure = failure
        self._target = target
        self._plain: bytes | None = None

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk. Raise TargetFailed if it reports a failure, TargetGarbled if its shape is unknown."""
        self.size += len(chunk.data)
        if chunk.whole is not None:
            self._plain = chunk.whole
            return
        value = self._read(chunk.data) if chunk.value is None else chunk.value
        try:
            if self._joiner.is_whole(value):
                self._plain = chunk.data
            else:
                self._joiner.add(value)
            if self._joiner.grown > MOST_PARTS:
                raise TargetGarbled(self._target, f"an answer of more than {MOST_PARTS} parts")
        except ODD as error:
            raise self._odd() from error

    def result(self) -> bytes:
        """Return the final answer as JSON. Raise TargetGarbled when the chunks do not make one."""
        if self._plain is not None:
            return self._plain
        try:
            joined = self._joiner.result()
            if joined is not None:
                return msgspec.json.encode(joined)
        except ODD as error:
            raise self._odd() from error
        raise TargetGarbled(self._target, "a stream without an answer")

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(data)
        except NOT_JSON as error:
            raise TargetGarbled(self._target, f"a chunk that is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise self._odd()
        try:
            why = self._failure(value)
        except ODD as error:
            raise self._odd() from error
        if why is not None:
            raise TargetFailed(self._target, why)
        return value

    def _odd(self) -> TargetError:
        return TargetGarbled(self._target, "a chunk of an unknown shape")


class Joiner:
    """Joiner for endpoints that answer with one value; the last one counts."""

    grown = 0  # number of items and members held

    def is_whole(self, value: dict[str, Any]) -> bool:
        """Return True if a value is the whole answer."""
        return True

    def add(self, value: dict[str, Any]) -> None:
        """Take the value of a chunk. Raise one of ODD for an unknown shape."""
        raise TypeError

    def result(self) -> dict[str, Any] | None:
        """Return the joined answer; None if there is none."""
        return None
