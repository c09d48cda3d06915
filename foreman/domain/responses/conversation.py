"""Conversations: a request that continues a response gets the turns before it into its own input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.errors import ConversationTooLong
from foreman.domain.json_weight import MOST_VALUES, has_more_items, has_more_values

MOST_ITEMS = 10_000  # in one input: turns, tool calls and their outputs

Fields = dict[str, msgspec.Raw]
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Turn(msgspec.Struct, frozen=True):
    """The request and the answer of a response, as JSON."""

    payload: bytes
    answer: bytes


class Responses(Protocol):
    """The responses that requests may continue."""

    async def turn(self, response_id: str, owner: str, *, most: int, took: Callable[[int], None]) -> Turn:
        """Return a response of `owner`, of up to `most` bytes; `took` is called with its size before it is read.

        Raises:
            PreviousResponseNotFound: The owner has no such response, or it was not stored.
            PreviousResponseUnusable: It has no answer.
            ConversationTooLong: It is larger.
            MemoryFull: `took` found no room for it.
        """


def continued(payload: Mapping[str, msgspec.Raw], before: Turn) -> Fields:
    """Return the payload with the input and the output of the turn before it ahead of its own input.

    The input of that turn has the turns before it already. Raise ConversationTooLong for too many items.
    """
    items = items_of(fields_of(before.payload).get("input"))
    items += items_of(fields_of(before.answer).get("output"))
    items += items_of(payload.get("input"))
    if len(items) > MOST_ITEMS:
        raise ConversationTooLong(f"{len(items)} items", f"{MOST_ITEMS} items")
    return {**payload, "input": msgspec.Raw(msgspec.json.encode(items))}


def fields_of(text: bytes) -> Fields:
    """Return the fields of a JSON object, each as it is written; none for other JSON."""
    try:
        return _decode_fields(text)
    except NOT_JSON:
        return {}


def items_of(given: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return the items of an input or an output; a text is a message of the user's.

    Raise ConversationTooLong for too many items or values: parsed, they take many times the bytes of their text.
    """
    if given is None:
        return []
    text = bytes(given)
    if has_more_items(text, MOST_ITEMS):
        raise ConversationTooLong(f"more than {MOST_ITEMS} items", f"{MOST_ITEMS} items")
    if has_more_values(text):
        raise ConversationTooLong(f"more than {MOST_VALUES} values", f"{MOST_VALUES} values")
    try:
        return _decode_items(given)
    except NOT_JSON:
        return [] if bytes(given) == b"null" else [_message(given)]


def shown_items(given: msgspec.Raw | None, job_id: str) -> list[dict[str, Any]]:
    """Return the items of a job's input as OpenAI lists them: each has its own id, a type, and content in parts."""
    ids: set[str] = set()
    return [_shown(item, f"{job_id}_{index}", ids) for index, item in enumerate(items_of(given))]


def _message(text: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"type": "message", "role": "user", "content": text}))


def _shown(raw: msgspec.Raw, name: str, ids: set[str]) -> dict[str, Any]:
    """Return one item; it is named `name` unless it has an id that is not among `ids` yet."""
    item = fields_of(bytes(raw))
    kind = _text(item.get("type")) or "message"
    prefix = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}.get(kind, "in")
    given = _text(item.get("id"))
    shown: dict[str, Any] = {"id": given if given and given not in ids else f"{prefix}_{name}", "type": kind}
    ids.add(shown["id"])
    if kind == "message":
        shown |= {"role": "user", "status": "completed"}
    shown |= {key: value for key, value in item.items() if key not in shown or key in ("role", "status")}
    if kind == "message" and (content := item.get("content")) is not None and bytes(memoryview(content)[:1]) == b'"':
        part = "output_text" if _text(item.get("role")) == "assistant" else "input_text"
        shown["content"] = [{"type": part, "text": content} | ({"annotations": []} if part == "output_text" else {})]
    return shown


def _text(raw: msgspec.Raw | None) -> str:
    """Return a field that is a text, else nothing."""
    try:
        return msgspec.json.decode(raw, type=str) if raw is not None else ""
    except NOT_JSON:
        return ""
