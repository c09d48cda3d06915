"""Answers of OpenAI's API in the words of Ollama's own; no I/O, no clock."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from foreman.endpoints import Endpoint
from foreman.errors import TargetGarbled
from foreman.targets.protocol import Chunk

MILLISECOND = 1_000_000  # nanoseconds


class NativeStream:
    """Turns the chunks of `/v1/chat/completions` or `/v1/completions` into those of a native endpoint."""

    def __init__(self, endpoint: Endpoint, model: str, target: str, *, load_ns: int = 0) -> None:
        """`model` is the name the caller used, `load_ns` the time the model took to load for this call."""
        self._chat = endpoint == "/api/chat"
        self._model = model
        self._target = target
        self._load_ns = load_ns
        self._calls: dict[int, dict[str, Any]] = {}
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._first_ns: int | None = None

    def take(self, data: bytes, *, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """Translate one chunk, which may give none. `created_at` is RFC 3339, `elapsed_ns` since the request."""
        try:
            return self._take(msgspec.json.decode(data), created_at, elapsed_ns)
        except (TypeError, AttributeError, KeyError, IndexError) as error:
            raise TargetGarbled(self._target, "a chunk of an unknown shape") from error

    def finish(self, *, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """What is left when the stream has ended; the last chunk is the closing one."""
        counts = self._counts(elapsed_ns)
        reason = "length" if self._reason == "length" else "stop"
        closing = {**self._said(created_at), "done": True, "done_reason": reason, **counts}
        return [*self._tool_calls(created_at), Chunk(msgspec.json.encode(closing), last=True)]

    def _take(self, value: dict[str, Any], created_at: str, elapsed_ns: int) -> list[Chunk]:
        self._usage = value.get("usage") or self._usage
        self._timings = value.get("timings") or self._timings
        choice = next((c for c in value.get("choices") or () if c.get("index", 0) == 0), None)
        if choice is None:
            return []
        delta = choice.get("delta") or choice.get("message") or {}
        text = delta.get("content") or choice.get("text") or ""
        thinking = delta.get("reasoning_content") or delta.get("reasoning") or ""
        logprobs = native_logprobs(choice.get("logprobs"))
        self._collect(delta.get("tool_calls") or ())
        self._reason = choice.get("finish_reason") or self._reason
        if self._first_ns is None and (text or thinking or self._calls):
            self._first_ns = elapsed_ns
        if not text and not thinking and not logprobs:
            return []
        fields = self._said(created_at, text, thinking)
        fields["done"] = False
        if logprobs:
            fields["logprobs"] = logprobs
        return [Chunk(msgspec.json.encode(fields))]

    def _said(self, created_at: str, text: str = "", thinking: str = "") -> dict[str, Any]:
        fields: dict[str, Any] = {"model": self._model, "created_at": created_at}
        if self._chat:
            message = {"role": "assistant", "content": text}
            fields["message"] = {**message, "thinking": thinking} if thinking else message
        else:
            fields["response"] = text
            if thinking:
                fields["thinking"] = thinking
        return fields

    def _collect(self, calls: Any) -> None:
        for position, call in enumerate(calls):
            index = call.get("index", position)
            known = self._calls.setdefault(index, {"id": "", "name": "", "arguments": []})
            function = call.get("function") or {}
            known["id"] = known["id"] or call.get("id") or ""
            known["name"] = known["name"] or function.get("name") or ""
            if given := function.get("arguments"):
                known["arguments"].append(given if isinstance(given, str) else msgspec.json.encode(given).decode())

    def _tool_calls(self, created_at: str) -> list[Chunk]:
        calls = []
        for index, call in sorted(self._calls.items()):
            arguments = self._arguments("".join(call["arguments"]))
            if arguments is None:
                continue
            function = {"index": index, "name": call["name"], "arguments": arguments}
            calls.append({"id": call["id"], "function": function} if call["id"] else {"function": function})
        if not calls:
            return []
        fields = self._said(created_at)
        fields.setdefault("message", {"role": "assistant", "content": ""})["tool_calls"] = calls
        return [Chunk(msgspec.json.encode({**fields, "done": False}))]

    def _arguments(self, text: str) -> dict[str, Any] | None:
        try:
            return msgspec.json.decode(text or "{}", type=dict[str, Any])
        except msgspec.DecodeError as error:
            if self._reason == "length":
                return None  # cut off in the middle of the call; done_reason says so
            raise TargetGarbled(self._target, "arguments of a tool call that are not a JSON object") from error

    def _counts(self, elapsed_ns: int) -> dict[str, int]:
        usage, timings = self._usage, self._timings
        first = elapsed_ns if self._first_ns is None else self._first_ns
        cached = _number(timings.get("cache_n"))
        return {
            "total_duration": elapsed_ns + self._load_ns,
            "load_duration": self._load_ns,
            "prompt_eval_count": _count(usage.get("prompt_tokens"), _number(timings.get("prompt_n")) + cached),
            "prompt_eval_duration": _count(_ns(timings.get("prompt_ms")), first),
            "eval_count": _count(usage.get("completion_tokens"), _number(timings.get("predicted_n"))),
            "eval_duration": _count(_ns(timings.get("predicted_ms")), elapsed_ns - first),
        }


def loaded(endpoint: Endpoint, model: str, created_at: str, reason: Literal["load", "unload"]) -> Chunk:
    """The whole answer to a request that only loads or unloads."""
    said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
    if endpoint != "/api/chat":
        said = {"response": ""}
    fields = {"model": model, "created_at": created_at, **said, "done": True, "done_reason": reason}
    return Chunk(msgspec.json.encode(fields), last=True)


def native_embed(data: bytes, model: str, target: str, *, load_ns: int, elapsed_ns: int) -> Chunk:
    """An answer of `/v1/embeddings` as one of `/api/embed`. Raises TargetGarbled."""
    try:
        answer = _EMBEDDINGS.decode(data)
    except msgspec.DecodeError as error:
        raise TargetGarbled(target, f"not the JSON of /v1/embeddings ({error})") from error
    embeddings = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
    fields = {
        "model": model,
        "embeddings": embeddings,
        "total_duration": elapsed_ns + load_ns,
        "load_duration": load_ns,
        "prompt_eval_count": _number((answer.usage or {}).get("prompt_tokens")),
    }
    return Chunk(msgspec.json.encode(fields), last=True)


def native_logprobs(given: Any) -> list[dict[str, Any]]:
    """The native list of token log probabilities out of either OpenAI shape."""
    if not isinstance(given, dict):
        return []
    if isinstance(content := given.get("content"), list):
        return [_logprob(entry) | _alternatives(entry) for entry in content]
    tokens, values = given.get("tokens") or [], given.get("token_logprobs") or []
    return [{"token": token, "logprob": value or 0.0} for token, value in zip(tokens, values, strict=False)]


def _alternatives(entry: dict[str, Any]) -> dict[str, Any]:
    top = entry.get("top_logprobs")
    return {"top_logprobs": [_logprob(item) for item in top]} if top else {}


def _logprob(entry: dict[str, Any]) -> dict[str, Any]:
    token = entry["token"]
    said = entry.get("bytes")
    return {
        "token": token,
        "logprob": entry["logprob"],
        "bytes": list(token.encode("utf-8", "replace")) if said is None else said,
    }


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: dict[str, Any] | None = None


_EMBEDDINGS = msgspec.json.Decoder(_Embeddings)


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _count(said: object, otherwise: int) -> int:
    return _number(said) if isinstance(said, int | float) else otherwise


def _ns(milliseconds: object) -> int | None:
    return round(milliseconds * MILLISECOND) if isinstance(milliseconds, int | float) else None
