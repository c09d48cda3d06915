"""Requests of Ollama's own API in the words of OpenAI's; no I/O."""

from __future__ import annotations

import base64
from collections import deque
from typing import Any, Literal, TypeVar

import msgspec

from foreman.endpoints import Endpoint
from foreman.errors import TargetRefused
from foreman.targets.images import plain_base64
from foreman.targets.options import native_options, whole_or_none
from foreman.targets.payloads import Question

T = TypeVar("T")

UNKNOWN_CALL = "call_unknown"  # the id of the call that a tool message answers, where there was none
_IMAGE_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


class _ToolFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str | None = None


class _ToolCall(msgspec.Struct):
    function: _ToolFunction
    id: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: str | list[dict[str, Any]] | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class _Native(msgspec.Struct):
    """What the native requests have in common; `None` and absence mean the same in all of them."""

    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | float | None = None
    keep_alive: str | int | float | None = None
    stream: Any = None


class _Chat(_Native):
    messages: list[_Message] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None


class _Generate(_Native):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None


class _Embed(msgspec.Struct):
    input: str | list[Any] | None = None
    dimensions: int | float | None = None


def to_openai(endpoint: Endpoint, payload: bytes, model: str) -> Question:
    """Translate the payload of a native endpoint; `model` is the name the server knows the model by.

    Raises TargetRefused with status 400 when the payload has not the shape of its endpoint.
    """
    if endpoint == "/api/embed":
        return _embed(_read(payload, _Embed), model)
    if endpoint == "/api/generate":
        return _generate(_read(payload, _Generate), model)
    return _chat(_read(payload, _Chat), model)


def only_loads(endpoint: Endpoint, payload: bytes) -> Literal["load", "unload"] | None:
    """Whether a native payload asks for no answer: no messages, or no prompt, load the model; with `keep_alive` 0 they
    unload it. Raises TargetRefused like `to_openai`."""
    if endpoint == "/api/chat":
        chat = _read(payload, _Chat)
        empty, keep_alive = not chat.messages, chat.keep_alive
    elif endpoint == "/api/generate":
        generate = _read(payload, _Generate)
        empty, keep_alive = not generate.prompt, generate.keep_alive
    else:
        return None
    if not empty:
        return None
    return "unload" if is_zero(keep_alive) else "load"


def is_zero(keep_alive: object) -> bool:
    """Whether a `keep_alive` (a number of seconds or a duration like "5m") means to unload at once."""
    if isinstance(keep_alive, str):
        return keep_alive.strip().rstrip("hmsun") in ("0", "0.0")
    return keep_alive is not None and keep_alive == 0


def embeddings_as_embed(payload: bytes) -> bytes:
    """A payload of the older `/api/embeddings` (`prompt`) as one of `/api/embed` (`input`)."""
    fields = _read(payload, dict[str, msgspec.Raw])
    if "prompt" in fields:
        fields["input"] = fields.pop("prompt")
    return msgspec.json.encode(fields)


def embed_as_embeddings(answer: bytes) -> bytes:
    """An answer of `/api/embed` as one of the older `/api/embeddings`."""
    embeddings = msgspec.json.decode(answer).get("embeddings") or [[]]
    return msgspec.json.encode({"embedding": embeddings[0]})


def _chat(asked: _Chat, model: str) -> Question:
    fields: dict[str, Any] = {"model": model, "messages": _messages(asked.messages or [])}
    if asked.tools:
        fields["tools"] = asked.tools
    if asked.tool_choice is not None:
        fields["tool_choice"] = asked.tool_choice
    fields |= _shared(asked)
    if asked.logprobs:
        fields["logprobs"] = True
        if top := whole_or_none("top_logprobs", asked.top_logprobs):
            fields["top_logprobs"] = top
    return _streamed("/v1/chat/completions", fields, asked)


def _generate(asked: _Generate, model: str) -> Question:
    if not asked.raw and not asked.suffix:
        system = [_Message(role="system", content=asked.system)] if asked.system else []
        messages = [*system, _Message(content=asked.prompt or "", images=asked.images)]
        common = {name: getattr(asked, name) for name in _Native.__struct_fields__}
        return _chat(_Chat(messages=messages, **common), model)
    fields: dict[str, Any] = {"model": model, "prompt": asked.prompt or ""}
    if asked.suffix:
        fields["suffix"] = asked.suffix
    fields |= _shared(asked)
    if asked.logprobs:
        # This older endpoint takes the number itself.
        fields["logprobs"] = whole_or_none("top_logprobs", asked.top_logprobs) or 1
    return _streamed("/v1/completions", fields, asked)


def _embed(asked: _Embed, model: str) -> Question:
    fields: dict[str, Any] = {"model": model, "input": asked.input or "", "encoding_format": "float"}
    if dimensions := whole_or_none("dimensions", asked.dimensions):
        fields["dimensions"] = dimensions
    return Question("/v1/embeddings", fields, {"encoding_format": None})


def _streamed(endpoint: Endpoint, fields: dict[str, Any], asked: _Native) -> Question:
    """The whole request. What is natively a stream may be made of an answer that is none, so both keys for it are
    additions; and a template that knows no thinking need not hear that there shall be none."""
    additions: dict[str, Any] = {"stream_options": None}
    if asked.think is False or isinstance(asked.think, str):
        additions["chat_template_kwargs"] = None
    additions["stream"] = None
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return Question(endpoint, fields, additions, whole=asked.stream is False)


def _shared(asked: _Native) -> dict[str, Any]:
    fields = native_options(asked.options or {})
    if asked.format == "json":
        fields["response_format"] = {"type": "json_object"}
    elif isinstance(asked.format, dict):
        schema = {"name": "answer", "schema": asked.format, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif asked.format:
        raise TargetRefused(400, 'format must be "json" or a JSON schema')
    if isinstance(asked.think, str):
        effort = "high" if asked.think == "max" else asked.think
        fields["reasoning_effort"] = effort
        fields["chat_template_kwargs"] = {"enable_thinking": True, "reasoning_effort": effort}
    elif asked.think is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": asked.think}
    return fields


def _messages(messages: list[_Message]) -> list[dict[str, Any]]:
    waiting = _Waiting()
    told: list[dict[str, Any]] = []
    made = 0
    for message in messages:
        role = message.role or "user"
        fields: dict[str, Any] = {"role": role, "content": _content(message)}
        if message.thinking:
            fields["reasoning_content"] = message.thinking
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                id = call.id or f"call_{made}"
                made += 1
                waiting.add(id, call.function.name)
                calls.append({"id": id, "type": "function", "function": _function(call.function)})
            fields["tool_calls"] = calls
        if role == "tool":
            name = message.tool_name or message.name
            fields["tool_call_id"] = waiting.answered(message.tool_call_id, name)
        elif message.name:
            fields["name"] = message.name
        told.append(fields)
    return told


def _function(function: _ToolFunction) -> dict[str, str]:
    given = function.arguments
    text = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
    return {"name": function.name, "arguments": text if text.strip() else "{}"}


class _Waiting:
    """The calls that no tool message has answered yet. Each call is put in and taken out a bounded number of times."""

    def __init__(self) -> None:
        self._calls: dict[int, str] = {}  # ids by number, oldest first; what is answered is no longer in it
        self._numbers: dict[tuple[str, str], deque[int]] = {}  # by what a message may name: "id" or "function"
        self._all: deque[int] = deque()
        self._made = 0

    def add(self, id: str, function: str) -> None:
        self._calls[self._made] = id
        self._numbers.setdefault(("id", id), deque()).append(self._made)
        self._numbers.setdefault(("function", function), deque()).append(self._made)
        self._all.append(self._made)
        self._made += 1

    def answered(self, id: str | None, name: str | None) -> str:
        """Return the id of the call a message answers: by its id, by the function's name, or simply the oldest."""
        if id is not None:
            return self._oldest(self._numbers.get(("id", id))) or id or self._oldest(self._all) or UNKNOWN_CALL
        named = self._all if name is None else self._numbers.get(("function", name))
        return self._oldest(named) or self._oldest(self._all) or UNKNOWN_CALL

    def _oldest(self, numbers: deque[int] | None) -> str | None:
        while numbers:
            if (id := self._calls.pop(numbers.popleft(), None)) is not None:
                return id
        return None


def _content(message: _Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content or ""
    parts: list[dict[str, Any]] = []
    if isinstance(message.content, list):
        parts += message.content
    elif message.content:
        parts.append({"type": "text", "text": message.content})
    return parts + [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in message.images]


def _data_uri(image: str) -> str:
    plain = plain_base64(image)
    if plain is None:
        raise TargetRefused(400, "an image is not base64")
    head = base64.b64decode(plain[:64])  # 64 characters are 48 bytes whole
    kind = next((kind for magic, kind in _IMAGE_TYPES if head.startswith(magic)), None)
    if kind is None:
        kind = "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{plain}"


def _read(payload: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TargetRefused(400, str(error)) from error
