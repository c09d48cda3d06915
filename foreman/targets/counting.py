"""Token counts of requests, by the counting route of the server or by its chat template and tokenizer."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.endpoints import EVERY
from foreman.domain.errors import NotServed, TargetGarbled, TargetSilent
from foreman.targets.chunks import error_in
from foreman.targets.http.pool import Client

TIMEOUT = 60.0  # seconds for one count, all requests included
LIMIT = 16 * 2**20  # bytes of an answer: a tokenizer lists every token
COUNTED_AS = {endpoint.counting: endpoint.counted_as for endpoint in EVERY.values()}
MISSING = frozenset({404, 405, 501})  # statuses of a route that a server lacks


class _Block(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Input(msgspec.Struct, tag_field="type", tag="input_text"):
    text: str


class _Output(msgspec.Struct, tag_field="type", tag="output_text"):
    text: str


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block | _Input | _Output]
    type: str = "message"


class _Tool(msgspec.Struct):
    name: str
    description: str = ""
    input_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    type: str | None = None


class _Asked(msgspec.Struct):
    """The parts of a request of either API that a tokenizer can count: text and tools."""

    model: str
    messages: list[_Message] = []
    input: str | list[_Message] = []
    system: str | list[_Block] | None = None
    instructions: str | None = None
    tools: list[_Tool] | None = None


async def counted(client: Client, path: str, payload: bytes, *, by_tokenizer: bool = True) -> bytes:
    """Return the answer to a request at `path`: a JSON object with `input_tokens`.

    If the server lacks that route and `by_tokenizer` is set, count with its chat template and its tokenizer, which only
    llama.cpp and vLLM have. Raise NotServed when the server cannot count this request, else another TargetError.
    """
    with trio.move_on_after(TIMEOUT):
        found = await _post(client, path, payload)
        if found is not None and isinstance(found.get("input_tokens"), int):
            return msgspec.json.encode(found)
        chat = _chat(payload) if by_tokenizer else None
        count = await _tokenized(client, chat) if chat is not None else None
        if count is None:
            raise NotServed(client.name, path)
        return msgspec.json.encode({**COUNTED_AS[path], "input_tokens": count})
    raise TargetSilent(client.name, TIMEOUT)


async def _tokenized(client: Client, chat: dict[str, Any]) -> int | None:
    filled = await _post(client, "/apply-template", msgspec.json.encode(chat))
    if filled is None:  # not llama.cpp; vLLM fills in the template itself
        tokens = await _post(client, "/tokenize", msgspec.json.encode(chat))
        count = tokens.get("count") if tokens else None
        return count if isinstance(count, int) else None
    ask = {"model": chat["model"], "content": filled.get("prompt"), "add_special": True, "parse_special": True}
    tokens = await _post(client, "/tokenize", msgspec.json.encode(ask))
    listed = tokens.get("tokens") if tokens else None
    return len(listed) if isinstance(listed, list) else None


async def _post(client: Client, path: str, payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object of the answer; None when the server lacks the route."""
    async with client.request("POST", path, payload) as response:
        if response.status in MISSING:
            return None
        if not 200 <= response.status < 300:
            raise await error_in(client, response)
        body = await response.read(LIMIT)
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON as error:
        raise TargetGarbled(client.name, f"no JSON object at {path} ({error})") from error
    return None if "error" in found else found  # LM Studio answers 200 where it lacks the route


def _chat(payload: bytes) -> dict[str, Any] | None:
    """Return the request as one of chat completions; None if it has more than text and tools."""
    try:
        asked = msgspec.json.decode(payload, type=_Asked)
    except NOT_JSON:
        return None
    turns = asked.messages or ([_Message("user", asked.input)] if isinstance(asked.input, str) else asked.input)
    system = asked.system or asked.instructions
    if system:
        turns = [_Message("system", system if isinstance(system, str) else [*system]), *turns]
    # Templates differ for everything else, and a wrong count is worse than an error.
    if any(turn.type != "message" for turn in turns) or any(
        tool.type not in (None, "custom", "function") for tool in asked.tools or []
    ):
        return None
    chat: dict[str, Any] = {"model": asked.model, "messages": [_turn(turn) for turn in turns]}
    if asked.tools:
        chat["tools"] = [_function(tool) for tool in asked.tools]
    return chat


def _turn(turn: _Message) -> dict[str, str]:
    text = turn.content if isinstance(turn.content, str) else "".join(part.text for part in turn.content)
    return {"role": "system" if turn.role == "developer" else turn.role, "content": text}


def _function(tool: _Tool) -> dict[str, Any]:
    parameters = tool.input_schema or tool.parameters or {}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }
