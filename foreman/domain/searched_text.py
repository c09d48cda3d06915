"""The text of requests and answers, in any API: what people and models wrote, as searches look at it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from foreman.domain.words import words_of

MOST_CHARACTERS = 8192  # of a request, and as many of an answer
MOST_BYTES = 8 * 2**20  # of a request or an answer; of larger ones, nothing is looked at
VERSION = 1  # raise it when other words are found in the same text: indexes are then made anew

_DEPTH = 8  # of lists and objects
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{128,}=*")  # base64
_NOTHING = msgspec.Raw(b"")


class _Value(msgspec.Struct):
    """The fields with text of requests, answers and their parts."""

    message: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    choices: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING
    messages: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING
    text: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING


class _Request(msgspec.Struct):
    """The fields with text of a request; what was said last, which tells it from those before it, comes first."""

    messages: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING


_decode_value, _decode_request = msgspec.json.Decoder(_Value).decode, msgspec.json.Decoder(_Request).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def request_words(payload: bytes) -> list[str]:
    """Return the words of the first MOST_CHARACTERS of a request: its last message, then the others in order."""
    return _words(_of_request(payload)) if len(payload) <= MOST_BYTES else []


def answer_words(answer: bytes) -> list[str]:
    """Return the words of the first MOST_CHARACTERS of an answer, without the reasoning before it."""
    return _words(_texts(answer, _DEPTH)) if len(answer) <= MOST_BYTES else []


def request_bytes(payload: bytes) -> int:
    """Return the bytes of all text of a request; 0 of one that is too large to look at, or that cannot be read."""
    if len(payload) > MOST_BYTES:
        return 0
    try:
        return sum(len(text.encode()) for text in _of_request(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _words(texts: Iterator[str]) -> list[str]:
    taken, left = [], MOST_CHARACTERS
    try:
        for text in texts:
            part = text[:left] if len(text) < 128 else _ENCODED.sub(" ", text[: 2 * MOST_CHARACTERS])[:left]
            taken.append(part)
            left -= len(part)
            if left <= 0:
                break
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # no server would read on either
        pass
    return words_of("\n".join(taken))


def _of_request(payload: bytes) -> Iterator[str]:
    asked = _decode_request(payload)
    for said in (asked.messages, asked.input):
        if _begin(said) == b"[" and (parts := _decode_list(said)):
            for part in (parts[-1], *parts[:-1]):
                yield from _texts(part, _DEPTH)
        else:
            yield from _texts(said, _DEPTH)
    for rest in (asked.prompt, asked.system, asked.instructions):
        yield from _texts(rest, _DEPTH)


def _texts(value: bytes | msgspec.Raw, depth: int) -> Iterator[str]:
    """Yield the texts of a JSON value. Pictures and other encoded data are in fields that are skipped unread."""
    begin = _begin(value)
    if begin == b'"':
        yield _decode_text(value)
    elif depth and begin == b"[":
        for one in _decode_list(value):
            yield from _texts(one, depth - 1)
    elif depth and begin == b"{":
        found = _decode_value(value)
        for name in _Value.__struct_fields__:
            yield from _texts(getattr(found, name), depth - 1)


def _begin(value: bytes | msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])
