"""The official SDKs, and what each makes of an answer, in one shape: so that two ways of asking can be compared."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import anthropic
import httpx2
import ollama
import openai

from tests.support.odd.scenario import (
    CHAT,
    EMBEDDINGS,
    MESSAGES,
    NATIVE_CHAT,
    NATIVE_EMBED,
    NATIVE_GENERATE,
    RESPONSES,
    TEXTS,
    Call,
    Meant,
    Scenario,
)

Said = tuple[Any, ...]  # the choices of an answer (Meant), or embeddings
ERRORS = (openai.APIError, anthropic.APIError, ollama.ResponseError)


class Refused(Exception):
    """An SDK took for an answer what is none."""


class Sdks:
    """The clients for one address, for one thread."""

    def __init__(self, url: str, *, retries: int) -> None:
        """`retries` are those that the SDKs make by themselves; the ollama client makes none."""
        self._http = httpx2.Client(trust_env=False)
        more: Any = {"api_key": "none", "max_retries": retries, "timeout": 30, "http_client": self._http}
        self.openai = openai.OpenAI(base_url=f"{url}/v1", **more)
        self.anthropic = anthropic.Anthropic(base_url=url, **more)
        self.ollama = ollama.Client(host=url, trust_env=False, timeout=30)

    def close(self) -> None:
        self._http.close()
        self.ollama._client.close()


@dataclass(frozen=True)
class Way:
    """One way to ask: which SDK, which method, which kind of stream."""

    name: str
    paths: tuple[str, ...]  # the endpoints of servers whose scenarios are asked for in this way
    ask: Callable[[Sdks, Scenario, str], Said]
    streamed: bool = False
    translated: bool = False  # from OpenAI's API, which the server speaks, to Ollama's, which the SDK speaks
    counts: Literal["told", "asked", "not told"] = "told"  # of tokens: whether the SDK hears of them, or has to ask

    def __str__(self) -> str:
        return self.name


def _messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


# The openai SDK


def chat(sdks: Sdks, odd: Scenario, text: str) -> Said:
    asked: Any = sdks.openai.chat.completions.create(model=odd.name, messages=_messages(text), **odd.extra)
    return tuple(_choice(choice, asked.usage) for choice in asked.choices)


def chat_streamed(sdks: Sdks, odd: Scenario, text: str, **more: Any) -> Said:
    stream: Any = sdks.openai.chat.completions.create(
        model=odd.name, messages=_messages(text), stream=True, **odd.extra, **more
    )
    return _joined(stream)


def chat_counted(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return chat_streamed(sdks, odd, text, stream_options={"include_usage": True})


def texts(sdks: Sdks, odd: Scenario, text: str) -> Said:
    asked: Any = sdks.openai.completions.create(model=odd.name, prompt=text)
    return tuple(
        Meant(choice.text, finish=choice.finish_reason, tokens=_usage(asked.usage)) for choice in asked.choices
    )


def texts_streamed(sdks: Sdks, odd: Scenario, text: str, **more: Any) -> Said:
    return _joined(sdks.openai.completions.create(model=odd.name, prompt=text, stream=True, **more))


def texts_counted(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return texts_streamed(sdks, odd, text, stream_options={"include_usage": True})


def responses(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _response(sdks.openai.responses.create(model=odd.name, input=text))


def responses_streamed(sdks: Sdks, odd: Scenario, text: str) -> Said:
    pieces, last = "", None
    for event in sdks.openai.responses.create(model=odd.name, input=text, stream=True):
        if event.type == "response.output_text.delta":
            pieces += event.delta
        if event.type in ("error", "response.failed"):
            raise Refused(event)
        last = event
    [said] = _response(getattr(last, "response", None))
    assert pieces == said.text
    return (said,)


def embeddings(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _vectors(sdks.openai.embeddings.create(model=odd.name, input=[text, "b"]).data)


def embeddings_as_numbers(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _vectors(sdks.openai.embeddings.create(model=odd.name, input=[text, "b"], encoding_format="float").data)


# The anthropic SDK


def messages(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _message(sdks.anthropic.messages.create(model=odd.name, max_tokens=9, messages=_messages(text)))


def messages_streamed(sdks: Sdks, odd: Scenario, text: str) -> Said:
    with sdks.anthropic.messages.stream(model=odd.name, max_tokens=9, messages=_messages(text)) as stream:
        return _message(stream.get_final_message())


# The ollama client


def native(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _native([sdks.ollama.chat(odd.name, _messages(text), tools=odd.extra.get("tools"))])


def native_streamed(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _native(sdks.ollama.chat(odd.name, _messages(text), tools=odd.extra.get("tools"), stream=True))


def generate(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _native([sdks.ollama.generate(odd.name, text, raw=odd.path == TEXTS)])


def generate_streamed(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return _native(sdks.ollama.generate(odd.name, text, raw=odd.path == TEXTS, stream=True))


def embed(sdks: Sdks, odd: Scenario, text: str) -> Said:
    return tuple(tuple(vector) for vector in sdks.ollama.embed(odd.name, [text, "b"]).embeddings)


WAYS = (
    Way("openai chat", (CHAT,), chat),
    Way("openai chat, streamed", (CHAT,), chat_streamed, streamed=True, counts="not told"),
    Way("openai chat, streamed and counted", (CHAT,), chat_counted, streamed=True, counts="asked"),
    Way("openai completions", (TEXTS,), texts),
    Way("openai completions, streamed", (TEXTS,), texts_streamed, streamed=True, counts="not told"),
    Way("openai completions, streamed and counted", (TEXTS,), texts_counted, streamed=True, counts="asked"),
    Way("openai responses", (RESPONSES,), responses),
    Way("openai responses, streamed", (RESPONSES,), responses_streamed, streamed=True),
    Way("openai embeddings", (EMBEDDINGS,), embeddings),
    Way("openai embeddings, as numbers", (EMBEDDINGS,), embeddings_as_numbers),
    Way("anthropic messages", (MESSAGES,), messages),
    Way("anthropic messages, streamed", (MESSAGES,), messages_streamed, streamed=True),
    Way("ollama chat", (NATIVE_CHAT,), native),
    Way("ollama chat, streamed", (NATIVE_CHAT,), native_streamed, streamed=True),
    Way("ollama generate", (NATIVE_GENERATE,), generate),
    Way("ollama generate, streamed", (NATIVE_GENERATE,), generate_streamed, streamed=True),
    Way("ollama embed", (NATIVE_EMBED,), embed),
    Way("ollama chat, translated", (CHAT,), native, translated=True),
    Way("ollama chat, translated and streamed", (CHAT,), native_streamed, streamed=True, translated=True),
    Way("ollama generate, translated", (TEXTS,), generate, translated=True),
    Way("ollama generate, translated and streamed", (TEXTS,), generate_streamed, streamed=True, translated=True),
    Way("ollama embed, translated", (EMBEDDINGS,), embed, translated=True),
)


# What was said


@dataclass
class _Growing:
    text: str = ""
    thinking: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    indices: list[Any] = field(default_factory=list)
    finish: str = ""

    def grow(self, part: Any) -> None:
        """Add a delta. A new id opens a call, whatever its index; what has neither belongs to the last one."""
        text, thinking = _parts(getattr(part, "content", None))
        self.text += text
        self.thinking += thinking + (_thinking(part) or "")
        for call in getattr(part, "tool_calls", None) or ():
            self._call(call)
        if old := getattr(part, "function_call", None):
            self.calls = self.calls or [{"id": "", "name": "", "arguments": ""}]
            self.calls[0]["name"] = old.name or self.calls[0]["name"]
            self.calls[0]["arguments"] += old.arguments or ""

    def _call(self, call: Any) -> None:
        index = getattr(call, "index", None)
        place = next((at for at in reversed(range(len(self.calls))) if self.indices[at] == index), None)
        given = str(call.id or "")
        known_by_id = place is not None and (not given or self.calls[place]["id"] == given)
        if not self.calls or not (known_by_id or (index is None and not given)):
            self.calls.append({"id": given, "name": "", "arguments": ""})
            self.indices.append(index)
            place = None
        known = self.calls[-1 if place is None else place]
        known["name"] = getattr(call.function, "name", None) or known["name"]
        arguments = getattr(call.function, "arguments", None) or ""
        known["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def said(self, usage: Any) -> Meant:
        calls = tuple(Call(call["name"], json.loads(call["arguments"] or "{}"), call["id"]) for call in self.calls)
        return Meant(_paired(self.text), _paired(self.thinking), calls, self.finish, _usage(usage))


def _joined(stream: Iterable[Any]) -> Said:
    """Return what the chunks of a stream of choices say."""
    choices: dict[int, _Growing] = {}
    usage = None
    for chunk in stream:
        if chunk.choices is None and getattr(chunk, "usage", None) is None:
            raise Refused(chunk)
        for choice in chunk.choices or ():
            state = choices.setdefault(choice.index or 0, _Growing())
            if getattr(choice, "delta", None) is not None:
                state.grow(choice.delta)
            state.text += getattr(choice, "text", None) or ""
            state.finish = choice.finish_reason or state.finish
        usage = getattr(chunk, "usage", None) or usage
    if not choices or any(state.finish == "error" for state in choices.values()):
        raise Refused("nothing, or an error")
    return tuple(state.said(usage) for _, state in sorted(choices.items()))


def _choice(choice: Any, usage: Any) -> Meant:
    state = _Growing(finish=choice.finish_reason or "")
    for index, call in enumerate(choice.message.tool_calls or ()):
        call.index = index  # each is a call of its own
    state.grow(choice.message)
    return state.said(usage)


def _thinking(part: Any) -> str | None:
    return getattr(part, "reasoning_content", None) or getattr(part, "reasoning", None)


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the thinking of content that may be a list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part["text"] for part in content if part["type"] == "text")
    return text, "".join(_parts(part["thinking"])[0] for part in content if part["type"] == "thinking")


def _paired(text: str) -> str:
    """Join the halves of characters that came apart, as JavaScript would; a lone half is U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _usage(usage: Any) -> tuple[int, int] | None:
    return (usage.prompt_tokens, usage.completion_tokens) if usage is not None else None


def _response(answer: Any) -> Said:
    if answer.status not in ("completed", "incomplete"):
        raise Refused(answer)
    calls = tuple(
        Call(item.name, json.loads(item.arguments), item.call_id)
        for item in answer.output
        if item.type == "function_call"
    )
    tokens = (answer.usage.input_tokens, answer.usage.output_tokens)
    return (Meant(answer.output_text, calls=calls, finish=answer.status, tokens=tokens),)


def _vectors(data: Iterable[Any]) -> Said:
    return tuple(_numbers(item.embedding) for item in sorted(data, key=lambda item: int(item.index)))


def _numbers(vector: Any) -> tuple[float, ...]:
    """Return a vector that may be packed, as the SDK leaves it where it did not ask for that."""
    if isinstance(vector, str):
        packed = base64.b64decode(vector)
        return struct.unpack(f"<{len(packed) // 4}f", packed)
    return tuple(vector)


def _message(answer: Any) -> Said:
    text = "".join(block.text for block in answer.content if block.type == "text")
    thinking = "".join(block.thinking for block in answer.content if block.type == "thinking")
    calls = tuple(Call(block.name, block.input, block.id) for block in answer.content if block.type == "tool_use")
    tokens = (answer.usage.input_tokens, answer.usage.output_tokens)
    return (Meant(text, thinking, calls, answer.stop_reason, tokens),)


def _native(chunks: Iterable[Any]) -> Said:
    text, thinking, calls = "", "", list[Call]()
    last: Any = None
    for last in chunks:
        part = getattr(last, "message", None) or last
        text += getattr(part, "content", None) or getattr(part, "response", None) or ""
        thinking += part.thinking or ""
        calls += [Call(call.function.name, call.function.arguments) for call in getattr(part, "tool_calls", None) or ()]
    tokens = (last.prompt_eval_count, last.eval_count) if last.eval_count is not None else None
    return (Meant(_paired(text), _paired(thinking), tuple(calls), last.done_reason or "", tokens),)
