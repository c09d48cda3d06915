"""Translation of answers of OpenAI's API into those of Ollama's native API; no I/O, no clock."""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.merge import absorb, settled
from foreman.domain.answers.tool_calls import CallSorter, arguments_of
from foreman.domain.errors import TargetGarbled

MILLISECOND = 1_000_000  # nanoseconds


class NativeStream:
    """Translator from chunks of `/v1/chat/completions` or `/v1/completions` to those of a native endpoint."""

    def __init__(self, endpoint: str, model: str, target: str, *, load_ns: int = 0) -> None:
        """Report `model`, the name the caller used, and `load_ns`, the nanoseconds of loading for this call."""
        self._chat = endpoint == "/api/chat"
        self._model = model
        self._target = target
        self._load_ns = load_ns
        self._sorter = CallSorter()
        self._calls: dict[str, Any] = {}  # `tool_calls` and `function_call`, merged
        self._index: Any = None  # of the choice to translate: the first to come
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._first_ns: int | None = None
        self._finished = False

    def translate(self, chunks: Collection[Chunk], *, closed: bool, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """Translate chunks, and finish once the answer is `closed`. Raise TargetGarbled for an unknown shape."""
        native = [
            made
            for chunk in chunks
            if chunk.value is not None
            for made in self.take(chunk.value, created_at=created_at, elapsed_ns=elapsed_ns)
        ]
        if closed and not self._finished:
            self._finished = True
            cut = any(chunk.cut for chunk in chunks)
            native += self.finish(created_at=created_at, elapsed_ns=elapsed_ns, cut=cut)
        return native

    def take(self, value: dict[str, Any], *, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """Translate one chunk into any number of them; `created_at` is RFC 3339, `elapsed_ns` since the request."""
        try:
            return self._take(value, created_at, elapsed_ns)
        except (TypeError, AttributeError, KeyError, IndexError) as error:
            raise TargetGarbled(self._target, "a chunk of an unknown shape") from error

    def finish(self, *, created_at: str, elapsed_ns: int, cut: bool = False) -> list[Chunk]:
        """Return the chunks left at the end of the stream, the closing one last.

        An answer that was `cut` ends with a chunk that says so instead of one with `done: true`.
        """
        if cut:
            return [*self._tool_calls(created_at, cut=True), Chunk(b"", cut=True)]
        counts = self._counts(elapsed_ns)
        reason = "length" if self._reason == "length" else "stop"
        closing = {**self._fields(created_at), "done": True, "done_reason": reason, **counts}
        calls = self._tool_calls(created_at, cut=self._reason == "length")  # it may have ended inside a call
        return [*calls, _chunk(closing, last=True)]

    def _take(self, value: dict[str, Any], created_at: str, elapsed_ns: int) -> list[Chunk]:
        self._usage = value.get("usage") or self._usage
        self._timings = value.get("timings") or self._timings
        choices = value.get("choices") or ()
        if self._index is None and choices:
            self._index = choices[0].get("index") or 0
        choice = next((one for one in choices if (one.get("index") or 0) == self._index), None)
        if choice is None:
            return []
        delta = choice.get("delta")
        delta = (choice.get("message") or {}) if delta is None else delta
        text, thinking = _text_and_thinking(delta.get("content") or choice.get("text"))
        text += delta.get("refusal") or ""
        thinking = "".join(_text_and_thinking(delta.get("reasoning_content") or delta.get("reasoning"))) + thinking
        logprobs = native_logprobs(choice.get("logprobs"))
        if delta.get("tool_calls") or delta.get("function_call"):
            self._sorter.sort(delta)
            absorb(self._calls, {name: delta[name] for name in ("tool_calls", "function_call") if delta.get(name)})
        self._reason = choice.get("finish_reason") or self._reason
        if self._first_ns is None and (text or thinking or self._calls):
            self._first_ns = elapsed_ns
        if not text and not thinking and not logprobs:
            return []
        fields = self._fields(created_at, text, thinking)
        fields["done"] = False
        if logprobs:
            fields["logprobs"] = logprobs
        return [_chunk(fields)]

    def _fields(self, created_at: str, text: str = "", thinking: str = "") -> dict[str, Any]:
        fields: dict[str, Any] = {"model": self._model, "created_at": created_at}
        if self._chat:
            message = {"role": "assistant", "content": text}
            fields["message"] = {**message, "thinking": thinking} if thinking else message
        else:
            fields["response"] = text
            if thinking:
                fields["thinking"] = thinking
        return fields

    def _tool_calls(self, created_at: str, *, cut: bool) -> list[Chunk]:
        merged = settled(self._calls)
        asked = sorted(merged.get("tool_calls") or (), key=lambda call: int(call["index"]))
        asked += [{"index": len(asked), "function": merged["function_call"]}] if "function_call" in merged else []
        calls = []
        for call in asked:
            function = call.get("function") or {}
            arguments = arguments_of(function.get("arguments"))
            if arguments is None and not cut:
                raise TargetGarbled(self._target, "arguments of a tool call that are not a JSON object")
            if arguments is not None:
                native = {"index": call["index"], "name": function.get("name") or "", "arguments": arguments}
                calls.append({"id": call["id"], "function": native} if call.get("id") else {"function": native})
        if not calls:
            return []
        fields = self._fields(created_at)
        fields.setdefault("message", {"role": "assistant", "content": ""})["tool_calls"] = calls
        return [_chunk({**fields, "done": False})]

    def _counts(self, elapsed_ns: int) -> dict[str, int]:
        usage, timings = self._usage, self._timings
        first = elapsed_ns if self._first_ns is None else self._first_ns
        cached = _number(timings.get("cache_n"))
        # Some servers use the names of the newer API.
        prompt, written = (
            usage.get(name, usage.get(newer))
            for name, newer in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
        )
        return {
            "total_duration": elapsed_ns + self._load_ns,
            "load_duration": self._load_ns,
            "prompt_eval_count": _count(prompt, _number(timings.get("prompt_n")) + cached),
            "prompt_eval_duration": _count(_ns(timings.get("prompt_ms")), first),
            "eval_count": _count(written, _number(timings.get("predicted_n"))),
            "eval_duration": _count(_ns(timings.get("predicted_ms")), elapsed_ns - first),
        }


def _chunk(fields: dict[str, Any], *, last: bool = False) -> Chunk:
    return Chunk(msgspec.json.encode(fields), last=last, value=fields)


def _text_and_thinking(content: Any) -> tuple[str, str]:
    """Return the text and the thinking of a content: a text, a part, or a list of parts and texts.

    Raise TypeError or AttributeError for anything else.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    text, thinking = "", ""
    for part in [content] if isinstance(content, dict) else content:
        if isinstance(part, str):
            text += part
            continue
        kind = str(part.get("type"))
        inner = part.get("text") or part.get("thinking") or part.get("reasoning") or ""
        inner = "".join(_text_and_thinking(inner)) if isinstance(inner, list) else inner
        if "thinking" in kind or "reasoning" in kind:
            thinking += inner
        else:
            text += inner
    return text, thinking


class NativeEmbed:
    """Translator from an answer of `/v1/embeddings` to one of `/api/embed`."""

    def __init__(self, model: str, target: str, *, load_ns: int) -> None:
        """Report `model`, and `load_ns`, the nanoseconds of loading for this call."""
        self._model = model
        self._target = target
        self._load_ns = load_ns

    def translate(self, chunks: Collection[Chunk], *, closed: bool, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """Translate the answer. Raise TargetGarbled for another shape."""
        return [
            native_embed(chunk.data, self._model, self._target, load_ns=self._load_ns, elapsed_ns=elapsed_ns)
            for chunk in chunks
        ]


def native_embed(data: bytes, model: str, target: str, *, load_ns: int, elapsed_ns: int) -> Chunk:
    """Translate an answer of `/v1/embeddings` into one of `/api/embed`. Raise TargetGarbled for another shape."""
    try:
        answer = _EMBEDDINGS.decode(data)
        embeddings = [item.numbers for item in sorted(answer.data, key=lambda item: item.index or 0)]
    except (msgspec.DecodeError, ValueError) as error:
        raise TargetGarbled(target, f"not the JSON of /v1/embeddings ({error})") from error
    fields = {
        "model": model,
        "embeddings": embeddings,
        "total_duration": elapsed_ns + load_ns,
        "load_duration": load_ns,
        "prompt_eval_count": _number((answer.usage or {}).get("prompt_tokens")),
    }
    return Chunk(msgspec.json.encode(fields), last=True, value=fields)


def native_logprobs(given: Any) -> list[dict[str, Any]]:
    """Return the native list of token log probabilities from either OpenAI shape."""
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
    given = entry.get("bytes")
    return {
        "token": token,
        "logprob": entry["logprob"],
        "bytes": list(token.encode("utf-8", "replace")) if given is None else given,
    }


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw  # its numbers stay as they were written
    index: int | None = None

    @property
    def numbers(self) -> msgspec.Raw | Sequence[float]:
        """Return the vector; some servers always pack it into base64 of little-endian float32.

        Raise ValueError when it cannot be unpacked.
        """
        if not bytes(self.embedding).startswith(b'"'):
            return self.embedding
        packed = base64.b64decode(msgspec.json.decode(self.embedding, type=str), validate=True)
        if len(packed) % 4:
            raise ValueError("the length of a vector is not a multiple of 4 bytes")
        return struct.unpack(f"<{len(packed) // 4}f", packed)


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: dict[str, Any] | None = None


_EMBEDDINGS = msgspec.json.Decoder(_Embeddings)


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _count(value: object, otherwise: int) -> int:
    return _number(value) if isinstance(value, int | float) else otherwise


def _ns(milliseconds: object) -> int | None:
    return round(milliseconds * MILLISECOND) if isinstance(milliseconds, int | float) else None
