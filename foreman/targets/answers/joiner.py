"""Joining of streamed chunks into the final answer, in the non-streaming shape of its endpoint; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.endpoints import Endpoint
from foreman.domain.errors import TargetError, TargetFailed, TargetGarbled
from foreman.targets.answers.failures import ODD, failure
from foreman.targets.answers.merge import absorb, packed, settled
from foreman.targets.answers.refusals import NOT_JSON
from foreman.targets.answers.tool_calls import arguments_of, finish_function, finished
from foreman.targets.protocol import Chunk

MOST_PARTS = 250_000  # items and members in a joined answer; each takes hundreds of bytes
_GROWING = ("response", "thinking", "logprobs")  # of the top level of a native chunk


class Answer:
    """One answer as it grows; the cost is linear in the bytes added."""

    def __init__(self, endpoint: Endpoint, target: str = "the target") -> None:
        self.size = 0  # bytes added so far; memory use is at most a small multiple
        self._endpoint = endpoint
        self._target = target
        self._joiner = _JOINERS.get(endpoint, _Single)()
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
            why = failure(self._endpoint, value)
        except ODD as error:
            raise self._odd() from error
        if why is not None:
            raise TargetFailed(self._target, why)
        return value

    def _odd(self) -> TargetError:
        return TargetGarbled(self._target, "a chunk of an unknown shape")


class _Single:
    """Joiner for endpoints that answer with one value; the last one counts."""

    grown = 0  # number of items and members held

    def is_whole(self, value: dict[str, Any]) -> bool:
        return True

    def add(self, value: dict[str, Any]) -> None:
        raise TypeError

    def result(self) -> dict[str, Any] | None:
        return None


class _Native(_Single):
    """Joiner for `/api/chat` and `/api/generate`: joins texts and lists, keeps the last of all other values."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: list[Any] = []  # each comes whole

    def is_whole(self, value: dict[str, Any]) -> bool:
        return not self._top and value.get("done") is True

    def add(self, value: dict[str, Any]) -> None:
        if "message" in value:
            message = value["message"]
            self._calls += map(packed, message.pop("tool_calls", None) or ())
            self.grown += absorb(self._message, message)
            value["message"] = None  # keeps its position among the keys
        texts: dict[str, Any] = {name: value.pop(name) for name in _GROWING if name in value}
        # Other strings of a chunk are whole, unlike those of a delta.
        self.grown -= len(self._top)
        self._top.update((name, packed(item)) for name, item in value.items())
        self.grown += len(self._top)
        self.grown += absorb(self._top, texts)

    def result(self) -> dict[str, Any] | None:
        if not self._top:
            return None
        top: dict[str, Any] = settled(self._top)
        if "message" in top:
            message: dict[str, Any] = settled(self._message)
            top["message"] = {"role": "assistant", "content": ""} | message
            if self._calls:
                top["message"]["tool_calls"] = self._calls
        return top


class _Choices(_Single):
    """Joiner for `/v1/chat/completions`: merges the deltas of each choice key by key."""

    kind = "chat.completion"

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def is_whole(self, value: dict[str, Any]) -> bool:
        return any("message" in choice and choice.get("delta") is None for choice in value.get("choices") or ())

    def add(self, value: dict[str, Any]) -> None:
        for choice in value.pop("choices", None) or ():
            index = choice["index"] = choice.get("index") or 0
            self.grown += index not in self._choices
            state = self._choices.setdefault(index, {"index": index})
            if choice.get("delta") is not None:
                choice.pop("message", None)  # the text so far, or the delta repeated
            self.grown += absorb(state, choice)
        self.grown -= len(self._top)
        for name, item in value.items():
            if item is not None or name not in self._top:
                self._top[name] = packed(item)
        self.grown += len(self._top)

    def result(self) -> dict[str, Any] | None:
        if not self._choices:
            return None
        usage = self._top.pop("usage", None)
        choices = [self._choice(settled(state)) for _, state in sorted(self._choices.items())]
        top = {**self._top, "object": self.kind, "choices": choices}
        return top if usage is None else {**top, "usage": usage}

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": None, **(state.pop("delta", None) or {})}
        if calls := message.pop("tool_calls", None):
            message["tool_calls"] = finished(calls)
        if function := message.get("function_call"):
            finish_function(function)
        if message["content"] is None and not calls and not function:
            message["content"] = ""
        message["content"] = _text_alone(message["content"])
        return {"index": state.pop("index"), "message": message, "finish_reason": None, **state}


class _Texts(_Choices):
    """Joiner for `/v1/completions`."""

    kind = "text_completion"

    def is_whole(self, value: dict[str, Any]) -> bool:
        return False  # a chunk and a whole answer have the same shape

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"index": state.pop("index"), "text": "", "finish_reason": None, **state}


def _text_alone(content: Any) -> Any:
    """Return the joined text of a content that has only text parts, else the content itself."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.keys() == {"type", "text"} for part in content
    ):
        return "".join(part["text"] for part in content)
    return content


class _Responses(_Single):
    """Joiner for `/v1/responses`: takes the answer from the closing event, else joins the items so far."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._closed = False
        self._items: dict[str, msgspec.Raw] = {}  # by id, in order of arrival
        self._texts: dict[str, list[str]] = {}

    def is_whole(self, value: dict[str, Any]) -> bool:
        return value.get("object") == "response" and "type" not in value

    def add(self, value: dict[str, Any]) -> None:
        match value["type"]:
            case "response.created" | "response.in_progress":
                self._response = value["response"]
            case "response.completed" | "response.incomplete":
                self._response, self._closed = value["response"], True
            case "response.output_item.added" | "response.output_item.done":
                self.grown += 1
                self._items[value["item"].get("id", "")] = packed(value["item"])
            case "response.output_text.delta":
                self._texts.setdefault(value.get("item_id", ""), []).append(value["delta"])

    def result(self) -> dict[str, Any] | None:
        if self._closed or self._response is None:
            return self._response if self._closed else None
        items = []
        for id in dict.fromkeys((*self._items, *self._texts)):
            item: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "content": []}
            if id in self._items:
                item = msgspec.json.decode(self._items[id])
            if not item.get("content") and id in self._texts:
                text = {"type": "output_text", "text": "".join(self._texts[id]), "annotations": []}
                item = {**item, "status": "incomplete", "content": [text]}
            items.append(item)
        return {**self._response, "output": items}


class _Messages(_Single):
    """Joiner for `/v1/messages`: events open, fill and close content blocks."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}  # the JSON of a tool's input, in pieces

    def is_whole(self, value: dict[str, Any]) -> bool:
        return value.get("type") == "message"

    def add(self, value: dict[str, Any]) -> None:
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


_JOINERS: dict[str, type[_Single]] = {
    "/api/chat": _Native,
    "/api/generate": _Native,
    "/v1/chat/completions": _Choices,
    "/v1/completions": _Texts,
    "/v1/responses": _Responses,
    "/v1/messages": _Messages,
}
