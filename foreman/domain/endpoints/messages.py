"""The endpoint `/v1/messages`: a message in Anthropic's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder, Form
from foreman.domain.answers.failures import bad_ending
from foreman.domain.answers.indexes import BlockSorter
from foreman.domain.answers.joiner import Joiner
from foreman.domain.answers.merge import absorb, settled
from foreman.domain.answers.tool_calls import arguments_of
from foreman.domain.endpoints.endpoint import Json
from foreman.domain.endpoints.typed_events import EventDecoder, EventEndpoint


class Messages(EventEndpoint):
    """See the module."""

    path = "/v1/messages"
    operation = "messages"
    dialect = "anthropic"
    content = frozenset({"type", "content"})
    counting = "/v1/messages/count_tokens"
    counting_operation = "count_tokens"
    whole_name = b"message"

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """See `Endpoint.decoder`."""
        return MessageDecoder(self, target)

    def joiner(self) -> Joiner:
        """See `Endpoint.joiner`."""
        return MessageJoiner()

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`."""
        ending = value["delta"] if value.get("type") == "message_delta" else value
        return bad_ending("stop_reason", ending.get("stop_reason")) or super().failed(value)

    def unfold(self, answer: Json) -> list[Json]:
        """See `Endpoint.unfold`."""
        return list(_message(answer))


class MessageDecoder(EventDecoder):
    """Decoder of events up to `message_stop`."""

    def __init__(self, form: Form, target: str) -> None:
        super().__init__(form, target)
        self._unopened = True
        self._blocks = BlockSorter()

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        kind = value.get("type")
        if whole or kind == "message":
            return self._take_whole(data, value)
        if self._unopened and kind in ("message_start", "content_block_start", "message_delta"):
            self._unopened = False
            if kind != "message_start":
                return [_opening(), *self._take(data, value, whole=False)]
        if self._blocks.sort(value):
            data = msgspec.json.encode(value)
        delta = value.get("delta")
        self._has_content = self._has_content or bool(delta)
        if kind == "message_stop":
            self.closed = True
            return self._pass(Chunk(data, last=True, value=value))
        if kind == "message_delta" and delta and delta.get("stop_reason"):
            self._over = True
        chunk = Chunk(data, value=value)
        return self._hold(chunk) if self._over else self._pass(chunk)


def _opening() -> Chunk:
    """Return the message_start that llama.cpp omits when its first token is only a part of a character."""
    empty: Json = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    message = {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": "", **empty}
    value: Json = {"type": "message_start", "message": message}
    return Chunk(msgspec.json.encode(value), value=value)


class MessageJoiner(Joiner):
    """Joiner for `/v1/messages`: events open, fill and close content blocks."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}  # the JSON of a tool's input, in pieces

    def is_whole(self, value: dict[str, Any]) -> bool:
        """See `Joiner.is_whole`."""
        return value.get("type") == "message"

    def add(self, value: dict[str, Any]) -> None:
        """See `Joiner.add`."""
        match value["type"]:
            case "message_start":
                self._message = value["message"]
            case "content_block_start":
                block: dict[str, Any] = {}
                self.grown += 1 + absorb(block, value["content_block"])
                self._blocks[value["index"]] = block
            case "content_block_delta":
                self._fill(value["index"], value["delta"])
            case "message_delta":
                message = self._started()
                message.update(value["delta"])
                usage = {name: item for name, item in (value.get("usage") or {}).items() if item is not None}
                message["usage"] = {**(message.get("usage") or {}), **usage}

    def result(self) -> dict[str, Any] | None:
        """See `Joiner.result`."""
        if self._message is None:
            return None
        blocks = []
        for index, block in sorted(self._blocks.items()):
            merged = settled(block)
            if (pieces := self._inputs.get(index)) or merged.get("type") == "tool_use":
                merged["input"] = _tool_input("".join(pieces)) if pieces else merged.get("input") or {}
            blocks.append(merged)
        return {**self._message, "content": blocks}

    def _started(self) -> dict[str, Any]:
        if self._message is None:
            raise ValueError("an event before message_start")
        return self._message

    def _fill(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        kind = delta.pop("type")
        if kind == "input_json_delta":
            if piece := delta["partial_json"]:
                self._inputs.setdefault(index, []).append(piece)
        elif kind == "citations_delta":
            self.grown += absorb(block, {"citations": [delta["citation"]]})
        else:  # text_delta, thinking_delta, signature_delta and later kinds
            self.grown += absorb(block, delta)


def _tool_input(text: str) -> object:
    arguments = arguments_of(text)
    return text if arguments is None else arguments  # cut off by max_tokens: keep the text


def _message(answer: Json) -> Iterator[Json]:
    usage = answer.get("usage") or {"input_tokens": 0, "output_tokens": 0}
    begun = {**answer, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": begun | {"usage": {**usage, "output_tokens": 0}}}
    for index, block in enumerate(answer.get("content") or ()):
        opened, deltas = _block(block)
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    reason = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
    yield {"type": "message_delta", "delta": reason, "usage": usage}
    yield {"type": "message_stop"}


def _block(block: Json) -> tuple[Json, list[Json]]:
    match block.get("type"):
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text") or ""}]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block.get("thinking") or ""}]
            if signature := block.get("signature"):
                deltas.append({"type": "signature_delta", "signature": signature})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use":
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": _json(block.get("input"))}]
    return block, []


def _json(value: object) -> str:
    return msgspec.json.encode({} if value is None else value).decode()


ENDPOINT = Messages()
