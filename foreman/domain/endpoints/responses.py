"""The endpoint `/v1/responses`: a response in OpenAI's newer API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder
from foreman.domain.answers.failures import error_message
from foreman.domain.answers.joiner import Joiner
from foreman.domain.answers.merge import packed
from foreman.domain.endpoints.endpoint import Json
from foreman.domain.endpoints.question import Question
from foreman.domain.endpoints.typed_events import EventDecoder, EventEndpoint

# What only Foreman acts on: it keeps responses itself, and has put the turns before one into its input.
_NOT_SENT = ("background", "background_options", "conversation", "previous_response_id", "store")
_STATUS = {"incomplete": "response.incomplete"}
_PARTS = {  # by the type of a content part: the key of its text and the name of its events
    "output_text": ("text", "response.output_text"),
    "reasoning_text": ("text", "response.reasoning_text"),
    "refusal": ("refusal", "response.refusal"),
}


class Responses(EventEndpoint):
    """See the module."""

    path = "/v1/responses"
    operation = "responses"
    content = frozenset({"type", "object", "output"})
    counting = "/v1/responses/input_tokens"
    counting_operation = "input_tokens"
    counted_as: ClassVar[Json] = {"object": "response.input_tokens"}

    def question(self, payload: bytes, model: str | None = None) -> Question:
        """See `Endpoint.question`."""
        asked = super().question(payload, model)
        return Question(asked.endpoint, for_target(asked.fields), asked.additions, asked.whole)

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """See `Endpoint.decoder`."""
        return ResponseDecoder(self, target)

    def joiner(self) -> Joiner:
        """See `Endpoint.joiner`."""
        return ResponseJoiner()

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`."""
        response = value.get("response", value)
        if isinstance(response, dict) and response.get("status") in ("failed", "cancelled"):
            return error_message(response)
        return super().failed(value)

    def unfold(self, answer: Json) -> list[Json]:
        """See `Endpoint.unfold`."""
        return [{**event, "sequence_number": number} for number, event in enumerate(_response(answer))]


def for_target(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that its target is to know."""
    return {name: value for name, value in payload.items() if name not in _NOT_SENT}


class ResponseDecoder(EventDecoder):
    """Decoder of events up to the one that has the whole response."""

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        kind = value.get("type")
        if kind is not None and not isinstance(kind, str):
            raise TypeError("type")
        if whole or (kind is None and value.get("object") == "response"):
            return self._take_whole(data, value)
        self._has_content = self._has_content or bool(value.get("delta")) or kind == "response.output_item.done"
        self.closed = kind in ("response.completed", "response.incomplete")
        return [Chunk(data, last=self.closed, value=value)]


class ResponseJoiner(Joiner):
    """Joiner for `/v1/responses`: takes the answer from the closing event, else joins the items so far."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._closed = False
        self._items: dict[str, msgspec.Raw] = {}  # by id, in order of arrival
        self._texts: dict[str, list[str]] = {}

    def is_whole(self, value: dict[str, Any]) -> bool:
        """See `Joiner.is_whole`."""
        return value.get("object") == "response" and "type" not in value

    def add(self, value: dict[str, Any]) -> None:
        """See `Joiner.add`."""
        match value["type"]:
            case "response.created" | "response.in_progress":
                self._response = value["response"]
            case "response.completed" | "response.incomplete":
                self._response, self._closed = value["response"], True
            case "response.output_item.added" | "response.output_item.done":
                self.grown += 1
                self._items[value["item"].get("id", "")] = packed(value["item"])
            case "response.output_text.delta":
                self._texts.setdefault(value.get("item_id", ""), []).append(value["delta"])

    def result(self) -> dict[str, Any] | None:
        """See `Joiner.result`."""
        if self._closed or self._response is None:
            return self._response if self._closed else None
        items = []
        for id in dict.fromkeys((*self._items, *self._texts)):
            item: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "content": []}
            if id in self._items:
                item = msgspec.json.decode(self._items[id])
            if not item.get("content") and id in self._texts:
                text = {"type": "output_text", "text": "".join(self._texts[id]), "annotations": []}
                item = {**item, "status": "incomplete", "content": [text]}
            items.append(item)
        return {**self._response, "status": "incomplete", "output": items}


def _response(answer: Json) -> Iterator[Json]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(answer.get("output") or ()):
        at = {"output_index": index}
        events = list(_item_events(item, at))
        empty = {name: [] if name == "content" else "" for name in ("content", "arguments") if events and name in item}
        opened = {**item, **empty} | ({"status": "in_progress"} if "status" in item else {})
        yield {"type": "response.output_item.added", **at, "item": opened}
        yield from events
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": _STATUS.get(str(answer.get("status")), "response.completed"), "response": answer}


def _item_events(item: Json, at: Json) -> Iterator[Json]:
    at = {"item_id": item.get("id", ""), **at}
    if isinstance(text := item.get("arguments"), str):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": text}
        done = {"type": "response.function_call_arguments.done", **at, "arguments": text}
        yield {**done, "name": item.get("name", "")}
    for index, part in enumerate(item.get("content") or ()):
        here = {**at, "content_index": index}
        key, name = _PARTS.get(part.get("type"), ("", ""))
        yield {"type": "response.content_part.added", **here, "part": {**part, key: ""} if key else part}
        if key:
            more = {"logprobs": part.get("logprobs") or []} if part["type"] == "output_text" else {}
            yield {"type": f"{name}.delta", **here, "delta": part.get(key) or "", **more}
            yield {"type": f"{name}.done", **here, key: part.get(key) or "", **more}
        yield {"type": "response.content_part.done", **here, "part": part}


ENDPOINT = Responses()
