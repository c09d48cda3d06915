"""Translation of requests of Ollama's native API into those of OpenAI's; no I/O."""

from __future__ import annotations

import base64
from typing import Any, Literal, TypeVar

import msgspec

from foreman.domain.answers.images import plain_base64
from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.endpoints.question import Question
from foreman.domain.errors import TargetGarbled, TargetRefused
from foreman.domain.json_objects import named
from foreman.domain.json_weight import has_more_items
from foreman.domain.translate.open_calls import OpenCalls
from foreman.domain.translate.sampling import native_options, whole_or_none

T = TypeVar("T")

MOST_MESSAGES = 100_000  # in one request
MOST_CALLS = 100_000  # tool calls in one request
MOST_IMAGES = 1000  # in one message
MOST_EMBEDDINGS = 10_000  # in an answer for one text; only the first is used
_KINDS = {"[": "a list", '"': "text"}
_IMAGE_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))

_FALSE = msgspec.Raw(b"false")
_JSON = msgspec.Raw(b'"json"')
_NO_TEXT = msgspec.Raw(b'""')
_NULL = msgspec.Raw(b"null")


# Values that are only passed on stay raw JSON: decoded they would take many times their bytes.
class _ToolFunction(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = _NULL  # an object or text


class _ToolCall(msgspec.Struct):
    function: _ToolFunction
    id: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: msgspec.Raw = _NULL  # text or a list of parts
    thinking: str | None = None
    images: msgspec.Raw = _NULL
    tool_calls: msgspec.Raw = _NULL
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class _Native(msgspec.Struct):
    """The common fields of the native requests; `None` means the same as absence."""

    format: msgspec.Raw = _NULL  # text or a schema
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | float | None = None
    keep_alive: str | int | float | None = None
    stream: msgspec.Raw = _NULL


class _Chat(_Native):
    messages: msgspec.Raw = _NULL
    tools: msgspec.Raw = _NULL
    tool_choice: msgspec.Raw = _NULL


class _Generate(_Native):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: msgspec.Raw = _NULL
    raw: bool | None = None


class _Embed(msgspec.Struct):
    input: msgspec.Raw = _NULL  # text or a list
    dimensions: int | float | None = None


_Fields = dict[str, msgspec.Raw]
_MESSAGE = frozenset(_Message.__struct_fields__)
_TOOL_CALL = frozenset(_ToolCall.__struct_fields__)
_TOOL_FUNCTION = frozenset(_ToolFunction.__struct_fields__)


def chat(payload: bytes, model: str) -> Question:
    """Translate a payload of `/api/chat`; `model` is the server's own name of the model.

    Raise TargetRefused with status 400 for a payload of another shape, as all functions here do.
    """
    return _chat(_read(payload, _Chat), model)


def generate(payload: bytes, model: str) -> Question:
    """Translate a payload of `/api/generate`."""
    return _generate(_read(payload, _Generate), model)


def embed(payload: bytes, model: str) -> Question:
    """Translate a payload of `/api/embed`."""
    return _embed(_read(payload, _Embed), model)


def purpose_of_chat(payload: bytes) -> Literal["load", "unload"] | None:
    """Return the purpose of a payload of `/api/chat` without messages, None for a request for an answer.

    Such a payload loads the model, or unloads it with a `keep_alive` of 0.
    """
    asked = _read(payload, _Chat)
    return _purpose(asked.keep_alive) if _is_empty("messages", asked.messages, "[") else None


def purpose_of_generate(payload: bytes) -> Literal["load", "unload"] | None:
    """Return the purpose of a payload of `/api/generate` without a prompt, None for a request for an answer."""
    asked = _read(payload, _Generate)
    return None if asked.prompt else _purpose(asked.keep_alive)


def _purpose(keep_alive: object) -> Literal["load", "unload"]:
    return "unload" if is_zero(keep_alive) else "load"


def is_zero(keep_alive: object) -> bool:
    """Return True if a `keep_alive` (a number of seconds or a duration like "5m") unloads at once."""
    if isinstance(keep_alive, str):
        return keep_alive.strip().rstrip("hmsun") in ("0", "0.0")
    return keep_alive is not None and keep_alive == 0


def embeddings_as_embed(payload: bytes) -> bytes:
    """Translate a payload of the older `/api/embeddings` (`prompt`) into one of `/api/embed` (`input`)."""
    fields = _read(payload, dict[str, msgspec.Raw])
    if "prompt" in fields:
        fields["input"] = fields.pop("prompt")
    return msgspec.json.encode(fields)


def embed_as_embeddings(answer: bytes) -> bytes:
    """Translate an answer of `/api/embed` into one of the older `/api/embeddings`, which has one embedding.

    Its numbers stay as they were written. Raise TargetGarbled for more than MOST_EMBEDDINGS.
    """
    given = msgspec.json.decode(answer, type=_Embeddings).embeddings
    if has_more_items(bytes(given), MOST_EMBEDDINGS):
        raise TargetGarbled("the server", f"more than {MOST_EMBEDDINGS} embeddings of one text")
    found = msgspec.json.decode(given, type=list[msgspec.Raw] | None)
    return msgspec.json.encode({"embedding": found[0] if found else []})


class _Embeddings(msgspec.Struct):
    embeddings: msgspec.Raw = _NULL


def _chat(asked: _Chat, model: str) -> Question:
    given = _bounded("messages", asked.messages, list[_Fields], MOST_MESSAGES)
    return _chat_of([_message(fields) for fields in given], asked, model)


def _chat_of(messages: list[_Message], asked: _Chat, model: str) -> Question:
    fields: dict[str, Any] = {"model": model, "messages": _messages(messages)}
    if not _is_empty("tools", asked.tools, "["):
        fields["tools"] = asked.tools
    if asked.tool_choice != _NULL:
        fields["tool_choice"] = asked.tool_choice
    fields |= _shared(asked)
    if asked.logprobs:
        fields["logprobs"] = True
        if top := whole_or_none("top_logprobs", asked.top_logprobs):
            fields["top_logprobs"] = top
    return _streamed("/v1/chat/completions", fields, asked)


def _generate(asked: _Generate, model: str) -> Question:
    if not asked.raw and not asked.suffix:
        system = [_Message(role="system", content=_raw(asked.system))] if asked.system else []
        messages = [*system, _Message(content=_raw(asked.prompt or ""), images=asked.images)]
        common = {name: getattr(asked, name) for name in _Native.__struct_fields__}
        return _chat_of(messages, _Chat(**common), model)
    fields: dict[str, Any] = {"model": model, "prompt": asked.prompt or ""}
    if asked.suffix:
        fields["suffix"] = asked.suffix
    fields |= _shared(asked)
    if asked.logprobs:
        # This older endpoint takes the number of alternatives here.
        fields["logprobs"] = whole_or_none("top_logprobs", asked.top_logprobs) or 1
    return _streamed("/v1/completions", fields, asked)


def _embed(asked: _Embed, model: str) -> Question:
    given = _raw("") if _is_empty("input", asked.input, '["') else asked.input
    fields: dict[str, Any] = {"model": model, "input": given, "encoding_format": "float"}
    if dimensions := whole_or_none("dimensions", asked.dimensions):
        fields["dimensions"] = dimensions
    return Question("/v1/embeddings", fields, {"encoding_format": None})


def _streamed(endpoint: str, fields: dict[str, Any], asked: _Native) -> Question:
    """Return the question with the fields for a stream and its additions.

    Both keys for a stream are additions, as a native stream can be made from a whole answer. The key of the template
    that sets thinking is one too unless `think` is true: false is the default of a template without thinking, and for
    text `reasoning_effort` says the same.
    """
    additions: dict[str, Any] = {"stream_options": None}
    if asked.think is False or isinstance(asked.think, str):
        additions["chat_template_kwargs"] = None
    additions["stream"] = None
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return Question(endpoint, fields, additions, whole=asked.stream == _FALSE)


def _shared(asked: _Native) -> dict[str, Any]:
    fields = native_options(asked.options or {})
    if asked.format == _JSON:
        fields["response_format"] = {"type": "json_object"}
    elif _kind(asked.format) == "{":
        schema = {"name": "answer", "schema": asked.format, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif asked.format not in (_NULL, _NO_TEXT):
        raise TargetRefused(400, 'format must be "json" or a JSON schema')
    if isinstance(asked.think, str):
        effort = "high" if asked.think == "max" else asked.think
        fields["reasoning_effort"] = effort
        fields["chat_template_kwargs"] = {"enable_thinking": True, "reasoning_effort": effort}
    elif asked.think is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": asked.think}
    return fields


def _message(fields: _Fields) -> _Message:
    """Decode a message; its keys match in any letter case, as in Go."""
    fields = named(fields, _MESSAGE)
    if fields.get("tool_calls", _NULL) != _NULL:
        calls = _read(bytes(fields["tool_calls"]), list[_Fields])
        fields["tool_calls"] = _raw([_call(named(call, _TOOL_CALL)) for call in calls])
    return _read(msgspec.json.encode(fields), _Message)


def _call(fields: _Fields) -> _Fields:
    if "function" in fields:
        fields["function"] = _raw(named(_read(bytes(fields["function"]), _Fields), _TOOL_FUNCTION))
    return fields


def _messages(messages: list[_Message]) -> list[msgspec.Raw]:
    unanswered = OpenCalls()
    translated: list[msgspec.Raw] = []
    made = 0
    for message in messages:
        role = message.role or "user"
        fields: dict[str, Any] = {"role": role, "content": _content(message)}
        if message.thinking:
            fields["reasoning_content"] = message.thinking
        if asked := _bounded("tool_calls", message.tool_calls, list[_ToolCall], MOST_CALLS - made):
            calls = []
            for call in asked:
                id = call.id or f"call_{made}"
                made += 1
                unanswered.add(id, call.function.name)
                calls.append(_raw({"id": id, "type": "function", "function": _function(call.function)}))
            fields["tool_calls"] = calls
        if role == "tool":
            name = message.tool_name or message.name
            fields["tool_call_id"] = unanswered.answered(message.tool_call_id, name)
        elif message.name:
            fields["name"] = message.name
        translated.append(_raw(fields))
    return translated


def _function(function: _ToolFunction) -> dict[str, str]:
    given = function.arguments
    if _kind(given) not in ("{", '"', "n"):
        raise TargetRefused(400, "the arguments of a tool call must be an object or text")
    text = _text(given) if _kind(given) == '"' else msgspec.json.format(bytes(given), indent=-1).decode()
    text = "" if text == "null" else text
    return {"name": function.name, "arguments": text if text.strip() else "{}"}


def _content(message: _Message) -> msgspec.Raw:
    content = message.content
    empty = _is_empty("content", content, '["')
    images = _bounded("images", message.images, list[str], MOST_IMAGES)
    if not images:
        return _raw("") if empty else content
    if empty:
        parts = b""
    elif _kind(content) == "[":
        parts = bytes(content).strip()[1:-1] + b","
    else:
        parts = b'{"type":"text","text":' + bytes(content) + b"},"
    shown = [_raw({"type": "image_url", "image_url": {"url": _data_uri(image)}}) for image in images]
    return msgspec.Raw(b"[" + parts + msgspec.json.encode(shown)[1:])


def _data_uri(image: str) -> str:
    plain = plain_base64(image)
    if plain is None:
        raise TargetRefused(400, "an image is not base64")
    head = base64.b64decode(plain[:64])  # 64 characters make exactly 48 bytes
    kind = next((kind for magic, kind in _IMAGE_TYPES if head.startswith(magic)), None)
    if kind is None:
        kind = "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{plain}"


def _kind(value: msgspec.Raw) -> str:
    """Return the first character of a value, which shows its type."""
    return chr(bytes(memoryview(value)[:1])[0])


def _is_empty(name: str, value: msgspec.Raw, kinds: str) -> bool:
    """Return True for null and for an empty value of the `kinds`. Raise TargetRefused for another kind."""
    if value == _NULL:
        return True
    if _kind(value) not in kinds:
        raise TargetRefused(400, f"{name} must be {' or '.join(_KINDS[kind] for kind in kinds)}")
    return len(memoryview(value)) < 64 and bytes(value).translate(None, b" \t\r\n") in (b"[]", b'""')


def _bounded(name: str, value: msgspec.Raw, shape: type[list[T]], most: int) -> list[T]:
    """Return the items of a list or null. Raise TargetRefused if they are more than `most`."""
    if _is_empty(name, value, "["):
        return []
    text = bytes(value)
    if has_more_items(text, most):
        raise TargetRefused(400, f"too many {name}: at most {most} are allowed")
    return _read(text, shape)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _text(value: msgspec.Raw) -> str:
    return _read(bytes(value), str)


def _read(payload: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=shape)
    except NOT_JSON as error:
        raise TargetRefused(400, str(error)) from error
