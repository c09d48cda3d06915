"""What the endpoints past the queue have in common: the answer is one JSON value, however large."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder, Json
from foreman.domain.answers.parsers import Parser, Whole
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.question import Question, unstreamed

LARGE = 64 * 2**10  # bytes; larger answers, and their larger members, are not decoded


class ValueEndpoint(Endpoint):
    """An endpoint whose calls go past the queue."""

    past_queue = True

    def question(self, payload: bytes, model: str | None = None) -> Question:
        """See `Endpoint.question`."""
        return unstreamed(self.path, payload, model)

    def parser(self, content_type: str, *, sized: bool, target: str) -> Parser:
        """See `Endpoint.parser`."""
        return Whole(target)

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """See `Endpoint.decoder`."""
        return ValueDecoder(self, target)


class ValueDecoder(Decoder):
    """Decoder of one value; its large parts stay JSON."""

    bounded = False

    def _read(self, value: bytes) -> list[tuple[bytes, Any]]:
        return [(value, _frame(value))] if len(value) > LARGE else super()._read(value)

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        return self._take_whole(data, value)


def _frame(value: bytes) -> Json:
    """Return a large value with its large members as raw JSON; raise UnicodeDecodeError for a broken text."""
    value.decode()
    members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    return {name: raw if len(memoryview(raw)) > LARGE else msgspec.json.decode(raw) for name, raw in members.items()}
