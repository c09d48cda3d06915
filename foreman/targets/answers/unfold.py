"""Conversion of a whole answer into a stream, for callers that asked for one; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from foreman.domain.endpoints import Endpoint
from foreman.targets.answers.tool_calls import CallSorter

Json = dict[str, Any]

_TOP = ("id", "object", "created", "model", "system_fingerprint", "service_tier")  # in every chunk of a completion
_CHOICE = ("index", "message", "delta", "finish_reason")
_STATUS = {"incomplete": "response.incomplete"}
_PARTS = {  # by the type of a content part: the key of its text and the name of its events
    "output_text": ("text", "response.output_text"),
    "reasoning_text": ("text", "response.reasoning_text"),
    "refusal": ("refusal", "response.refusal"),
}


def unfold(endpoint: Endpoint, answer: Json) -> list[Json]:
    """Return the values of the stream; for endpoints whose stream may be one value, the answer itself."""
    match endpoint:
        case "/v1/chat/completions":
            return list(_chat(answer))
        case "/v1/completions":
            return list(_texts(answer))
        case "/v1/responses":
            return [{**event, "sequence_number": number} for number, event in enumerate(_response(answer))]
        case "/v1/messages":
            return list(_message(answer))
    return [answer]


def _chat(answer: Json) -> Iterator[Json]:
    top = {name: answer[name] for name in _TOP if name in answer} | {"object": "chat.completion.chunk"}
    begun, ended = [], []
    for position, choice in enumerate(answer["choices"]):
        index = choice.get("index", position)
        delta = {"role": "assistant", **(choice.get("message") or choice.get("delta") or {})}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [dict(call) for call in delta["tool_calls"]]
        CallSorter().sort(delta)
        rest = {name: value for name, value in choice.items() if name not in _CHOICE}
        begun.append({"index": index, "delta": delta, **rest, "finish_reason": None})
        ended.append({"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"})
    yield {**top, "choices": begun}
    more = {name: value for name, value in answer.items() if name not in (*_TOP, "choices", "usage")}
    yield {**top, "choices": ended, **more}
    if usage := answer.get("usage"):
        yield {**top, "choices": [], "usage": usage}


def _texts(answer: Json) -> Iterator[Json]:
    yield {name: value for name, value in answer.items() if name != "usage"}
    if usage := answer.get("usage"):
        yield {**{name: answer[name] for name in _TOP if name in answer}, "choices": [], "usage": usage}


def _response(answer: Json) -> Iterator[Json]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(answer.get("output") or ()):
        at = {"output_index": index}
        events = list(_item_events(item, at))
        empty = {name: [] if name == "content" else "" for name in ("content", "arguments") if events and name in item}
        opened = {**item, **empty} | ({"status": "in_progress"} if "status" in item else {})
        yield {"type": "response.output_item.added", **at, "item": opened}
        yield from events
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": _STATUS.get(str(answer.get("status")), "response.completed"), "response": answer}


def _item_events(item: Json, at: Json) -> Iterator[Json]:
    at = {"item_id": item.get("id", ""), **at}
    if isinstance(text := item.get("arguments"), str):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": text}
        done = {"type": "response.function_call_arguments.done", **at, "arguments": text}
        yield {**done, "name": item.get("name", "")}
    for index, part in enumerate(item.get("content") or ()):
        here = {**at, "content_index": index}
        key, name = _PARTS.get(part.get("type"), ("", ""))
        yield {"type": "response.content_part.added", **here, "part": {**part, key: ""} if key else part}
        if key:
            more = {"logprobs": part.get("logprobs") or []} if part["type"] == "output_text" else {}
            yield {"type": f"{name}.delta", **here, "delta": part.get(key) or "", **more}
            yield {"type": f"{name}.done", **here, key: part.get(key) or "", **more}
        yield {"type": "response.content_part.done", **here, "part": part}


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
