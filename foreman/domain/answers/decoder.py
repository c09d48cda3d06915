"""Decoding of the values of a stream into chunks, up to the end of the answer; no I/O."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.failures import ODD
from foreman.domain.answers.mend import Mender
from foreman.domain.answers.parsers import DONE
from foreman.domain.answers.refusals import clean
from foreman.domain.errors import TargetFailed, TargetGarbled, TargetLost
from foreman.domain.json_weight import MOST_VALUES, has_more_values

Json = dict[str, Any]

EXCERPT = 200  # bytes of an unreadable value that the error quotes


class Form(Protocol):
    """The part of an endpoint that says how its answers look."""

    @property
    def path(self) -> str:
        """Return the path, for messages."""

    def failure(self, value: Json) -> str | None:
        """Return the server's message if a value of an answer reports a failure, else None."""

    def unfold(self, answer: Json) -> list[Json]:
        """Return the values of a stream for a whole answer; the answer itself if a stream may be one value."""


class Decoder:
    """Decoder of a stream: values in, chunks out, up to the one that closes the answer.

    Each value is read once. Values that clients could not read are repaired; all others stay as they came. Its methods
    raise TargetFailed for an answer that reports its failure, TargetGarbled for anything but JSON of the endpoint, and
    TargetLost when the stream ends too early.
    """

    bounded = True  # the number of values in a chunk is

    def __init__(self, form: Form, target: str) -> None:
        self.closed = False
        self._form = form
        self._failure = form.failure
        self._target = target
        self._mender = Mender(self._pauses)
        self._held: Chunk | None = None  # may be the last: only chunks that may end the answer are held
        self._has_content = False  # it had content, not only the frame of an answer
        self._over = False  # the end was announced

    @property
    def ending(self) -> bool:
        """Return True if the answer is complete; the usage or a last mark may still come."""
        return self.closed or self._over

    def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
        """Return the chunks that the next value makes; `whole` marks a body of one value, sent without a stream."""
        if self.closed:
            return []
        if value.startswith(DONE):  # clients stop reading here too
            return self._done()
        if self.bounded and has_more_values(value):
            raise TargetGarbled(self._target, f"a chunk of more than {MOST_VALUES} values")
        try:
            values = self._read(value)
        except ODD as error:
            excerpt = clean(value[:EXCERPT].decode("utf-8", "replace"))
            raise TargetGarbled(self._target, f"not the JSON of {self._form.path} ({error}): {excerpt}") from error
        if whole:
            values += self._mender.flush()
        return self._all(values, whole=whole)

    def _read(self, value: bytes) -> list[tuple[bytes, Any]]:
        return self._mender.read(value)

    def end(self, *, framed: bool) -> list[Chunk]:
        """Return the chunks left at the end of the body; `framed` marks an end that the body itself announced."""
        chunks = self._all(self._mender.flush())
        if self.closed:
            return chunks
        if self._finished or self._over:
            return chunks + self._release(last=True)
        self._check_end()
        if framed and self._has_content:
            chunks += self._release(last=False)
            self.closed = True
            return [*chunks, Chunk(b"", cut=True)]
        raise TargetLost(self._target, "the stream ended before the answer did")

    def _done(self) -> list[Chunk]:
        """Take the end mark of OpenAI's streams."""
        return self.end(framed=True)

    def _check_end(self) -> None:
        """Raise TargetFailed if the last value, after which the stream ended, was an error of an unknown shape."""

    @property
    def _finished(self) -> bool:
        """Return True if the end needs no announcement."""
        return False

    def _all(self, values: list[tuple[bytes, Any]], *, whole: bool = False) -> list[Chunk]:
        chunks: list[Chunk] = []
        for data, value in values:
            if not isinstance(value, dict):
                raise TargetGarbled(self._target, f"not the JSON of {self._form.path} (a value that is not an object)")
            if b"\n" in data or b"\r" in data:
                data = msgspec.json.format(data, indent=-1)
            try:
                if (why := self._failure(value)) is not None:
                    raise TargetFailed(self._target, why)
                if not self.closed:
                    chunks += self._take(data, value, whole=whole)
            except ODD as error:
                raise TargetGarbled(self._target, f"a chunk of an unknown shape for {self._form.path}") from error
        return chunks

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        raise NotImplementedError

    def _take_whole(self, data: bytes, value: Json) -> list[Chunk]:
        """Return the chunks of an answer that came whole; they carry the original."""
        self.closed = True
        chunks = self._release(last=False)
        *others, last = self._form.unfold(value)
        if last is value:
            return [*chunks, Chunk(data, last=True, value=value)]
        chunks += [Chunk(msgspec.json.encode(one), value=one, whole=data) for one in others]
        return [*chunks, Chunk(msgspec.json.encode(last), last=True, value=last, whole=data)]

    def _pass(self, chunk: Chunk) -> list[Chunk]:
        return [chunk] if self._held is None else [*self._release(last=False), chunk]

    def _hold(self, chunk: Chunk) -> list[Chunk]:
        released, self._held = self._release(last=False), chunk
        return released

    def _release(self, *, last: bool) -> list[Chunk]:
        self.closed = self.closed or last
        held, self._held = self._held, None
        return [msgspec.structs.replace(held, last=last)] if held is not None else []

    def _pauses(self, value: Any) -> bool:
        """Return True if no text continues after `value`."""
        try:
            return self._ends_text(value)
        except ODD:
            return True

    def _ends_text(self, value: Any) -> bool:
        return True
