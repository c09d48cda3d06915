"""Requests of Ollama's own API in the words of OpenAI's; no I/O."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, TypeVar

import msgspec

from foreman.endpoints import Endpoint
from foreman.errors import TargetRefused

T = TypeVar("T")

# Options that OpenAI's own API, llama.cpp or vLLM take by the same name.
_SAME_NAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repeat_last_n",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
_IMAGE_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


class _ToolFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str = {}


class _ToolCall(msgspec.Struct):
    function: _ToolFunction
    id: str | None = None


class _Message(msgspec.Struct):
    role: str = "user"
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
    top_logprobs: int | None = None
    keep_alive: str | int | float | None = None


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
    input: str | list[Any] = ""
    dimensions: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """A translated request: the endpoint it goes to and its JSON."""

    endpoint: Endpoint
    payload: bytes


def to_openai(endpoint: Endpoint, payload: bytes, model: str) -> Asked:
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


def _chat(asked: _Chat, model: str) -> Asked:
    fields: dict[str, Any] = {"model": model, "messages": _messages(asked.messages or [])}
    if asked.tools:
        fields["tools"] = asked.tools
    if asked.tool_choice is not None:
        fields["tool_choice"] = asked.tool_choice
    fields |= _shared(asked)
    if asked.logprobs:
        fields["logprobs"] = True
        if asked.top_logprobs:
            fields["top_logprobs"] = asked.top_logprobs
    return Asked("/v1/chat/completions", _streamed(fields))


def _generate(asked: _Generate, model: str) -> Asked:
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
        fields["logprobs"] = asked.top_logprobs or 1  # this older endpoint takes the number itself
    return Asked("/v1/completions", _streamed(fields))


def _embed(asked: _Embed, model: str) -> Asked:
    fields: dict[str, Any] = {"model": model, "input": asked.input, "encoding_format": "float"}
    if asked.dimensions:
        fields["dimensions"] = asked.dimensions
    return Asked("/v1/embeddings", msgspec.json.encode(fields))


def _streamed(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({**fields, "stream": True, "stream_options": {"include_usage": True}})


def _shared(asked: _Native) -> dict[str, Any]:
    options = asked.options or {}
    fields = {name: options[name] for name in _SAME_NAME if options.get(name) is not None}
    limit = options.get("num_predict")
    if isinstance(limit, int) and limit > 0:  # -1 and -2 mean no limit
        fields["max_tokens"] = limit
    if (penalty := options.get("repeat_penalty")) is not None:
        fields["repeat_penalty"] = fields["repetition_penalty"] = penalty  # llama.cpp's name and vLLM's
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
    waiting: list[tuple[str, str]] = []  # (id, function) of the calls no tool message has answered yet
    told: list[dict[str, Any]] = []
    made = 0
    for message in messages:
        fields: dict[str, Any] = {"role": message.role, "content": _content(message)}
        if message.thinking:
            fields["reasoning_content"] = message.thinking
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                id = call.id or f"call_{made}"
                made += 1
                waiting.append((id, call.function.name))
                calls.append({"id": id, "type": "function", "function": _function(call.function)})
            fields["tool_calls"] = calls
        if message.role == "tool":
            name = message.tool_name or message.name
            fields["tool_call_id"] = _answered(waiting, message.tool_call_id, name)
        elif message.name:
            fields["name"] = message.name
        told.append(fields)
    return told


def _function(function: _ToolFunction) -> dict[str, str]:
    given = function.arguments
    arguments = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return {"name": function.name, "arguments": arguments}


def _answered(waiting: list[tuple[str, str]], id: str | None, name: str | None) -> str:
    """The id of the call a tool message answers, by its id, by the function's name, or simply the oldest."""
    for position, (known, function) in enumerate(waiting):
        if known == id or (id is None and name in (None, function)):
            return waiting.pop(position)[0]
    return id or (waiting.pop(0)[0] if waiting else "call_unknown")


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
    if image.startswith("data:"):
        return image
    try:
        head = base64.b64decode(image[:64], validate=True)  # 64 characters are 48 bytes whole
    except binascii.Error:
        raise TargetRefused(400, "an image is not base64") from None
    kind = next((kind for magic, kind in _IMAGE_TYPES if head.startswith(magic)), None)
    if kind is None:
        kind = "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{image}"


def _read(payload: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TargetRefused(400, str(error)) from error
