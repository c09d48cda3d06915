"""Answers of `/v1/chat/completions` as OpenAI documents them: what the odd ones are made from."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.odd.scenario import CHAT, DONE, SCENARIOS, Answer, Asked, Call, Json, Meant, as_json, event, scenario

HELLO = Meant("Hello there.")
TOP: Json = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "odd"}
COUNTED: Json = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
USAGE: Json = {**TOP, "choices": [], "usage": COUNTED}


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, index: int = 0, **top: Any) -> Json:
    """Return a chunk with one choice."""
    return {**TOP, "choices": [{"index": index, "delta": dict(delta or {}), "finish_reason": finish}], **top}


def texts(*pieces: str) -> list[Json]:
    return [chunk({"content": piece}) for piece in pieces]


def closing(asked: Asked, finish: str = "stop") -> list[Json]:
    """Return the chunk that ends the answer, and the usage if it was asked for."""
    return [chunk({}, finish), *([USAGE] if asked.counted else [])]


def hello(asked: Asked) -> list[Json]:
    """Return the chunks of HELLO."""
    return [chunk({"role": "assistant", "content": "Hello"}), *texts(" there."), *closing(asked)]


def sse(values: Iterable[Json | bytes], **how: Any) -> Answer:
    return Answer([*map(event, values), DONE], **how)


def whole(asked: Asked) -> Answer:
    """Answer unstreamed with what the scenario means."""
    return as_json(completion(SCENARIOS[asked.model].meant))


def completion(meant: Iterable[Any]) -> Json:
    """Return a whole answer."""
    choices = [
        {"index": index, "message": message(choice), "finish_reason": choice.finish}
        for index, choice in enumerate(meant)
    ]
    return {**TOP, "object": "chat.completion", "choices": choices, "usage": COUNTED}


def message(meant: Meant) -> Json:
    said: Json = {"role": "assistant", "content": None if meant.calls and not meant.text else meant.text}
    if meant.thinking:
        said["reasoning_content"] = meant.thinking
    if meant.calls:
        said["tool_calls"] = [called(call) for call in meant.calls]
    return said


def called(call: Call) -> Json:
    """Return a call of a tool as a whole message has it."""
    function = {"name": call.name, "arguments": json.dumps(call.arguments, separators=(",", ":"))}
    return {"id": call.id, "type": "function", "function": function}


odd_chat = functools.partial(scenario, CHAT, whole=whole)  # its stream is odd, its unstreamed answer is not
