"""The endpoint `/v1/completions`: a text completion in OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foreman.domain.answers.joiner import Joiner
from foreman.domain.endpoints.completion import TOP, ChoiceJoiner, CompletionEndpoint
from foreman.domain.endpoints.endpoint import Json


class Completions(CompletionEndpoint):
    """See the module."""

    path = "/v1/completions"
    operation = "completions"

    def joiner(self) -> Joiner:
        """See `Endpoint.joiner`."""
        return TextJoiner()

    def unfold(self, answer: Json) -> list[Json]:
        """See `Endpoint.unfold`."""
        return list(_texts(answer))


class TextJoiner(ChoiceJoiner):
    """Joiner of the text of each choice."""

    kind = "text_completion"

    def is_whole(self, value: dict[str, Any]) -> bool:
        """See `Joiner.is_whole`."""
        return False  # a chunk and a whole answer have the same shape

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"index": state.pop("index"), "text": "", "finish_reason": None, **state}


def _texts(answer: Json) -> Iterator[Json]:
    yield {name: value for name, value in answer.items() if name != "usage"}
    if usage := answer.get("usage"):
        yield {**{name: answer[name] for name in TOP if name in answer}, "choices": [], "usage": usage}


ENDPOINT = Completions()
