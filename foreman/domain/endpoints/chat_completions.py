"""The endpoint `/v1/chat/completions`: a chat in OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foreman.domain.answers.joiner import Joiner
from foreman.domain.answers.tool_calls import CallSorter, finish_function, finished
from foreman.domain.endpoints.completion import TOP, ChoiceJoiner, CompletionEndpoint
from foreman.domain.endpoints.endpoint import Json

CHOICE = ("index", "message", "delta", "finish_reason")


class ChatCompletions(CompletionEndpoint):
    """See the module."""

    path = "/v1/chat/completions"
    operation = "chat_completions"

    def joiner(self) -> Joiner:
        """See `Endpoint.joiner`."""
        return ChatJoiner()

    def unfold(self, answer: Json) -> list[Json]:
        """See `Endpoint.unfold`."""
        return list(_chat(answer))


class ChatJoiner(ChoiceJoiner):
    """Joiner of the deltas of each choice."""

    kind = "chat.completion"

    def is_whole(self, value: dict[str, Any]) -> bool:
        """See `Joiner.is_whole`."""
        return any("message" in choice and choice.get("delta") is None for choice in value.get("choices") or ())

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": None, **(state.pop("delta", None) or {})}
        if calls := message.pop("tool_calls", None):
            message["tool_calls"] = finished(calls)
        if function := message.get("function_call"):
            finish_function(function)
        if message["content"] is None and not calls and not function:
            message["content"] = ""
        message["content"] = _text_alone(message["content"])
        return {"index": state.pop("index"), "message": message, "finish_reason": None, **state}


def _text_alone(content: Any) -> Any:
    """Return the joined text of a content that has only text parts, else the content itself."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.keys() == {"type", "text"} for part in content
    ):
        return "".join(part["text"] for part in content)
    return content


def _chat(answer: Json) -> Iterator[Json]:
    top = {name: answer[name] for name in TOP if name in answer} | {"object": "chat.completion.chunk"}
    begun, ended = [], []
    for position, choice in enumerate(answer["choices"]):
        index = choice.get("index", position)
        delta = {"role": "assistant", **(choice.get("message") or choice.get("delta") or {})}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [dict(call) for call in delta["tool_calls"]]
        CallSorter().sort(delta)
        rest = {name: value for name, value in choice.items() if name not in CHOICE}
        begun.append({"index": index, "delta": delta, **rest, "finish_reason": None})
        ended.append({"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"})
    yield {**top, "choices": begun}
    more = {name: value for name, value in answer.items() if name not in (*TOP, "choices", "usage")}
    yield {**top, "choices": ended, **more}
    if usage := answer.get("usage"):
        yield {**top, "choices": [], "usage": usage}


ENDPOINT = ChatCompletions()
