"""Excerpts of prompts: the beginning of what a user asked last, for lists of jobs; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from foreman.domain.json_weight import has_more_items

MOST_EXCERPT = 120  # characters
MOST_MESSAGES = 100_000  # looked through in one request
MOST_READ = 16_384  # bytes of a text

T = TypeVar("T")

_QUOTE, _BRACKET = b'"['
_NULL = msgspec.Raw(b"null")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ESCAPE = 12  # bytes of the longest escape sequence, a pair of surrogates
_FEW_BYTES = MOST_MESSAGES  # a list of so many bytes cannot have more items
_USER = msgspec.Raw(b'"user"')
_TEXTS = (msgspec.Raw(b'"text"'), msgspec.Raw(b'"input_text"'))  # the types of parts of a message that are text


class _Message(msgspec.Struct):
    """A message of any chat API, or a text among messages; what else such a list holds has no role."""

    role: msgspec.Raw = _NULL
    content: msgspec.Raw = _NULL


class _Part(msgspec.Struct):
    type: msgspec.Raw = _NULL
    text: msgspec.Raw = _NULL


_messages = msgspec.json.Decoder(list[_Message]).decode
_parts = msgspec.json.Decoder(list[_Part]).decode
_values = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def excerpt(payload: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the first MOST_EXCERPT characters of what a request asks last, in one line; None if it has no text.

    That is the last message of a user with text, the prompt, or the first text of `input`. Whatever else it may be,
    such as images, tokens or the results of tools, is skipped.
    """
    for name in ("messages", "input", "prompt"):
        if name in payload and (found := _asked(payload[name])) is not None:
            return found
    return None


def _asked(raw: msgspec.Raw) -> str | None:
    view = memoryview(raw)
    if view[0] == _QUOTE:
        return _shown(raw)
    if view[0] != _BRACKET or (len(view) > _FEW_BYTES and has_more_items(bytes(view), MOST_MESSAGES)):
        return None
    if bytes(view[1:64]).lstrip()[:1] == b'"':
        return _first(_shown, _read(_values, raw))
    return _first(_said, reversed(_read(_messages, raw)))


def _said(message: _Message) -> str | None:
    """Return the excerpt of a user's message, None if it is none or has no text."""
    if message.role != _USER:
        return None
    content = memoryview(message.content)
    if content[0] == _QUOTE:
        return _shown(message.content)
    if content[0] != _BRACKET or (len(content) > _FEW_BYTES and has_more_items(bytes(content), MOST_MESSAGES)):
        return None
    parts = _read(_parts, message.content)
    return _first(_shown, (part.text for part in parts if part.type in _TEXTS))


def _shown(raw: msgspec.Raw) -> str | None:
    """Return the excerpt of a JSON text, None if it is something else or blank."""
    view = memoryview(raw)
    if view[0] != _QUOTE:
        return None
    text = _begin(view)
    line = text[:MOST_EXCERPT]
    if line.isprintable() and "  " not in line and line[:1] != " ":  # as most are
        return line.rstrip() or None
    line = " ".join(text.split(None, MOST_EXCERPT)[:MOST_EXCERPT])[:MOST_EXCERPT]
    if not line.isprintable():
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in line).split())
    return line.rstrip() or None


def _begin(view: memoryview) -> str:
    """Return the beginning of a JSON text; it is cut between two characters."""
    if len(view) <= MOST_READ:
        return _decoded(view) or ""
    for cut in range(_ESCAPE):
        if (text := _decoded(bytes(view[: MOST_READ - cut]) + b'"')) is not None:
            return text
    return ""


def _decoded(text: bytes | memoryview) -> str | None:
    try:
        return _text(text)
    except _UNREADABLE:
        return None


def _read(decode: Callable[[msgspec.Raw], list[T]], raw: msgspec.Raw) -> list[T]:
    """Return the items of a list, none if one is not as it should be."""
    try:
        return decode(raw)
    except _UNREADABLE:
        return []


def _first(show: Callable[[T], str | None], found: Iterable[T]) -> str | None:
    """Return the first excerpt of these, or None."""
    return next((line for line in map(show, found) if line is not None), None)
