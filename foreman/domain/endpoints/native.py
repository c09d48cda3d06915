"""What `/api/chat` and `/api/generate` have in common: lines of JSON up to `done`."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder
from foreman.domain.answers.failures import bad_ending
from foreman.domain.answers.joiner import Joiner
from foreman.domain.answers.merge import absorb, packed, settled
from foreman.domain.answers.parsers import Ndjson, Parser, Sse, WholeOrLines
from foreman.domain.answers.tool_calls import with_objects
from foreman.domain.endpoints.endpoint import Endpoint, Json, Purpose
from foreman.domain.translate.answer import NativeStream

GROWING = ("response", "thinking", "logprobs")  # of the top level of a chunk


class NativeEndpoint(Endpoint):
    """An endpoint of Ollama's own API that streams."""

    dialect = "ollama"
    native = True
    empty: ClassVar[Json]  # the content of an answer without text

    def parser(self, content_type: str, *, sized: bool, target: str) -> Parser:
        """See `Endpoint.parser`."""
        media = content_type.partition(";")[0].strip().lower()
        if media == "text/event-stream":
            return Sse(target)
        # Some servers label an NDJSON stream application/json; a stream never announces its length.
        return WholeOrLines(target) if media == "application/json" and sized else Ndjson(target)

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """See `Endpoint.decoder`."""
        return LineDecoder(self, target)

    def joiner(self) -> Joiner:
        """See `Endpoint.joiner`."""
        return NativeJoiner()

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`."""
        return bad_ending("done_reason", value.get("done_reason")) or super().failed(value)

    def loaded(self, model: str, created_at: str, reason: Purpose) -> Chunk:
        """See `Endpoint.loaded`."""
        fields = {"model": model, "created_at": created_at, **self.empty, "done": True, "done_reason": reason}
        return Chunk(msgspec.json.encode(fields), last=True, value=fields)

    def translator(self, model: str, target: str, *, load_ns: int) -> NativeStream:
        """See `Endpoint.translator`."""
        return NativeStream(self.path, model, target, load_ns=load_ns)


class LineDecoder(Decoder):
    """Decoder of lines up to `done: true`."""

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        if whole:
            return self._take_whole(data, value)
        message = value.get("message") or {}
        if not self._has_content:
            content = [item for name, item in message.items() if name != "role"]
            self._has_content = bool(value.get("response") or value.get("thinking")) or any(content)
        if (calls := message.get("tool_calls")) and with_objects(calls):
            data = msgspec.json.encode(value)
        self.closed = value.get("done") is True
        return [Chunk(data, last=self.closed, value=value)]

    def _ends_text(self, value: Any) -> bool:
        return bool(value.get("done"))


class NativeJoiner(Joiner):
    """Joiner for `/api/chat` and `/api/generate`: joins texts and lists, keeps the last of all other values."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: list[Any] = []  # each comes whole

    def is_whole(self, value: dict[str, Any]) -> bool:
        """See `Joiner.is_whole`."""
        return not self._top and value.get("done") is True

    def add(self, value: dict[str, Any]) -> None:
        """See `Joiner.add`."""
        if "message" in value:
            message = value["message"]
            self._calls += map(packed, message.pop("tool_calls", None) or ())
            self.grown += absorb(self._message, message)
            value["message"] = None  # keeps its position among the keys
        top, texts = self._top, None
        self.grown -= len(top)
        for name, item in value.items():
            if name in GROWING:
                texts = texts or {}
                texts[name] = item
            else:  # other strings of a chunk are whole, unlike those of a delta
                top[name] = packed(item) if isinstance(item, dict | list) else item
        self.grown += len(top)
        if texts:
            self.grown += absorb(top, texts)

    def result(self) -> dict[str, Any] | None:
        """See `Joiner.result`."""
        if not self._top:
            return None
        top: dict[str, Any] = settled(self._top)
        if "message" in top:
            message: dict[str, Any] = settled(self._message)
            top["message"] = {"role": "assistant", "content": ""} | message
            if self._calls:
                top["message"]["tool_calls"] = self._calls
        return top
