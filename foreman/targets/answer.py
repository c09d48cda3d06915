"""Joins the chunks of a streamed answer into the final answer, in its endpoint's non-streaming shape; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.endpoints import Endpoint
from foreman.errors import TargetFailed, TargetFault, TargetGarbled
from foreman.targets.faults import said

# Strings that are sent whole, maybe more than once; all others in a delta are pieces to be joined.
_SENT_WHOLE = frozenset({"role", "id", "type", "object", "name", "model", "finish_reason", "stop_reason", "format"})


MOST_TOKENS = 10**9  # that one answer is believed to have
_ODD = (TypeError, AttributeError, KeyError, ValueError, IndexError, RecursionError)  # what nonsense leads to
_GROWING = ("response", "thinking", "logprobs")  # of the top level of a native chunk


class Answer:
    """One answer as it grows. Cost is linear in what is added."""

    def __init__(self, endpoint: Endpoint, target: str = "the target") -> None:
        self.size = 0  # bytes added so far; what is held is never more than a small multiple of it
        self._target = target
        self._joiner = _JOINERS.get(endpoint, _Single)()
        self._plain: bytes | None = None

    def add(self, data: bytes) -> None:
        """Take the data of the next chunk. Raises TargetFailed for an error object, TargetGarbled for nonsense."""
        self.size += len(data)
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TargetGarbled(self._target, f"a chunk that is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise self._odd()
        if value.get("error") or value.get("type") == "error":
            raise TargetFailed(self._target, said(value) or "an error without words")
        try:
            if self._joiner.is_whole(value):
                self._plain = data
            else:
                self._joiner.add(value)
        except _ODD as error:
            raise self._odd() from error

    def result(self) -> bytes:
        """The final answer as JSON. Raises TargetGarbled when no chunk made one."""
        if self._plain is not None:
            return self._plain
        try:
            joined = self._joiner.result()
        except _ODD as error:
            raise self._odd() from error
        if joined is None:
            raise TargetGarbled(self._target, "a stream without an answer")
        return msgspec.json.encode(joined)

    def _odd(self) -> TargetFault:
        return TargetGarbled(self._target, "a chunk of an unknown shape")


def tokens(answer: bytes) -> tuple[int, int]:
    """How many tokens a final answer says were read and written; 0 where it does not say."""
    try:
        counted = _COUNTED.decode(answer)
    except msgspec.MsgspecError:
        return 0, 0
    usage = counted.usage or _Usage()
    read = counted.prompt_eval_count or usage.prompt_tokens or usage.input_tokens
    written = counted.eval_count or usage.completion_tokens or usage.output_tokens
    return min(max(read, 0), MOST_TOKENS), min(max(written, 0), MOST_TOKENS)


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Counted(msgspec.Struct):
    prompt_eval_count: int = 0
    eval_count: int = 0
    usage: _Usage | None = None


_COUNTED = msgspec.json.Decoder(_Counted)


class _Single:
    """Endpoints that answer with one value; the last one counts."""

    def is_whole(self, value: dict[str, Any]) -> bool:
        return True

    def add(self, value: dict[str, Any]) -> None:
        raise TypeError

    def result(self) -> dict[str, Any] | None:
        return None


class _Native(_Single):
    """`/api/chat` and `/api/generate`: texts and lists are joined, of all else the last word counts."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._message: dict[str, Any] = {}

    def is_whole(self, value: dict[str, Any]) -> bool:
        return not self._top and value.get("done") is True

    def add(self, value: dict[str, Any]) -> None:
        if "message" in value:
            _absorb(self._message, value["message"])
            value["message"] = None  # keeps its place among the keys
        texts: dict[str, Any] = {name: value.pop(name) for name in _GROWING if name in value}
        # Unlike those of a delta, the other strings of a chunk are whole.
        self._top.update(value)
        _absorb(self._top, texts)

    def result(self) -> dict[str, Any] | None:
        if not self._top:
            return None
        top: dict[str, Any] = _settled(self._top)
        if "message" in top:
            message: dict[str, Any] = _settled(self._message)
            top["message"] = {"role": "assistant", "content": ""} | message
        return top


class _Choices(_Single):
    """`/v1/chat/completions` and `/v1/completions`: every choice by its index, its deltas merged key by key."""

    kind = "chat.completion"

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def is_whole(self, value: dict[str, Any]) -> bool:
        return value.get("object") == self.kind or any("message" in choice for choice in value.get("choices") or ())

    def add(self, value: dict[str, Any]) -> None:
        for choice in value.pop("choices", None) or ():
            index = choice.get("index", 0)
            state = self._choices.setdefault(index, {"index": index})
            _absorb(state, choice)
        for name, item in value.items():
            if item is not None or name not in self._top:
                self._top[name] = item

    def result(self) -> dict[str, Any] | None:
        if not self._choices:
            return None
        usage = self._top.pop("usage", None)
        choices = [self._choice(_settled(state)) for _, state in sorted(self._choices.items())]
        top = {**self._top, "object": self.kind, "choices": choices}
        return top if usage is None else {**top, "usage": usage}

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": None, **state.pop("delta", {})}
        if message["content"] is None and not message.get("tool_calls"):
            message["content"] = ""
        for call in message.get("tool_calls") or ():
            call.pop("index", None)  # belongs to the stream only
        return {"index": state.pop("index"), "message": message, "finish_reason": None, **state}


class _Texts(_Choices):
    kind = "text_completion"

    def is_whole(self, value: dict[str, Any]) -> bool:
        return False  # a chunk and a whole answer have the same shape; one alone joins to itself

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"index": state.pop("index"), "text": "", "logprobs": None, "finish_reason": None, **state}


class _Responses(_Single):
    """`/v1/responses`: its closing event carries the whole answer."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None

    def is_whole(self, value: dict[str, Any]) -> bool:
        return value.get("object") == "response"

    def add(self, value: dict[str, Any]) -> None:
        if value["type"] in ("response.completed", "response.incomplete", "response.failed"):
            self._response = value["response"]

    def result(self) -> dict[str, Any] | None:
        return self._response


class _Messages(_Single):
    """`/v1/messages`: events that open, fill and close content blocks."""

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
                _absorb(block, value["content_block"])
                self._blocks[value["index"]] = block
            case "content_block_delta":
                self._fill(value["index"], value["delta"])
            case "message_delta":
                message = self._started()
                message.update(value["delta"])
                message["usage"] = {**(message.get("usage") or {}), **(value.get("usage") or {})}

    def result(self) -> dict[str, Any] | None:
        if self._message is None:
            return None
        blocks = []
        for index, block in sorted(self._blocks.items()):
            settled = _settled(block)
            if pieces := self._inputs.get(index):
                settled["input"] = _tool_input("".join(pieces))
            blocks.append(settled)
        return {**self._message, "content": blocks}

    def _started(self) -> dict[str, Any]:
        if self._message is None:
            raise ValueError("an event before message_start")
        return self._message

    def _fill(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        kind = delta.pop("type")
        if kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            _absorb(block, {"citations": [delta["citation"]]})
        else:  # text_delta, thinking_delta, signature_delta, and what may come
            _absorb(block, delta)


def _tool_input(text: str) -> object:
    try:
        return msgspec.json.decode(text) if text.strip() else {}
    except msgspec.DecodeError:
        return text  # cut off by max_tokens; better shown than lost


_JOINERS: dict[str, type[_Single]] = {
    "/api/chat": _Native,
    "/api/generate": _Native,
    "/v1/chat/completions": _Choices,
    "/v1/completions": _Texts,
    "/v1/responses": _Responses,
    "/v1/messages": _Messages,
}


class _Text:
    """A string that grows."""

    __slots__ = ("parts",)

    def __init__(self, first: str) -> None:
        self.parts = [first]


def _absorb(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Merge a delta: strings are joined, lists extended (or merged by their items' `index`), objects merged."""
    for name, value in delta.items():
        have = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, str):
            if name in _SENT_WHOLE:
                into[name] = value or have
            elif isinstance(have, _Text):
                have.parts.append(value)
            else:
                into[name] = _Text(value)
        elif isinstance(value, dict):
            if not isinstance(have, dict):
                have = into[name] = {}
            _absorb(have, value)
        elif isinstance(value, list):
            if not isinstance(have, list):
                have = into[name] = []
            for item in value:
                _absorb_item(have, item)
        else:
            into[name] = value


def _absorb_item(items: list[Any], item: object) -> None:
    if isinstance(item, dict) and isinstance(item.get("index"), int):
        # The one being filled is nearly always the newest.
        for known in reversed(items):
            if isinstance(known, dict) and known.get("index") == item["index"]:
                _absorb(known, item)
                return
        fresh: dict[str, Any] = {}
        _absorb(fresh, item)
        items.append(fresh)
    else:
        items.append(item)


def _settled(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.parts)
    if isinstance(value, dict):
        return {name: _settled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_settled(item) for item in value]
    return value
