"""Streams of JSON values, NDJSON and server-sent events, taken apart piece by piece; no I/O."""

from __future__ import annotations

import codecs
from typing import Any, Protocol

import msgspec
from ulid import ULID

from foreman.endpoints import COMPLETIONS, EMBEDDING, NATIVE, Endpoint
from foreman.errors import TargetFailed, TargetGarbled, TargetLost
from foreman.targets.answer import Answer as Answer
from foreman.targets.faults import said
from foreman.targets.protocol import Chunk

MAX_VALUE = 64 * 2**20  # bytes of one JSON value; an answer may be one value, with images or embeddings in it
DONE = b"[DONE]"  # how OpenAI's streams end


class Parser(Protocol):
    """Bytes in, complete JSON values (or DONE) out."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; raises TargetGarbled when a value grows beyond MAX_VALUE."""

    def end(self) -> list[bytes]:
        """What was still waiting for its line end."""


class Ndjson:
    """One JSON value a line."""

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._lines = _Lines(target, limit)

    def feed(self, data: bytes) -> list[bytes]:
        return [line for line in map(bytes.strip, self._lines.feed(data)) if line]

    def end(self) -> list[bytes]:
        return [line for line in map(bytes.strip, self._lines.end()) if line]


class Sse:
    """The data of server-sent events, by the rules of the HTML standard, section 9.2.6."""

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._limit = limit
        self._lines = _Lines(target, limit)
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        events: list[bytes] = []
        for line in self._lines.feed(data):
            self._take(line, events)
        return events

    def end(self) -> list[bytes]:
        # The standard drops an event that no empty line ended; servers that hang up right after the data are forgiven.
        events: list[bytes] = []
        for line in (*self._lines.end(), b""):
            self._take(line, events)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line:
            if self._data:
                value = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                if value.strip():
                    events.append(value.strip())
                self._data, self._size = [], 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"error":  # older llama.cpp servers report a fault in a field of its own
            value = b'{"error":' + value + b"}"
        elif field != b"data":
            return
        self._size += len(value) + 1
        if self._size > self._limit:
            raise TargetGarbled(self._target, f"an event larger than {self._limit} bytes")
        self._data.append(value)


class Whole:
    """A body that is one JSON value."""

    def __init__(self, target: str, limit: int = MAX_VALUE) -> None:
        self._target = target
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._size += len(data)
        if self._size > self._limit:
            raise TargetGarbled(self._target, f"an answer larger than {self._limit} bytes")
        self._pieces.append(data)
        return []

    def end(self) -> list[bytes]:
        value = b"".join(self._pieces).strip()
        return [value] if value else []


class Closer:
    """Turns the values of one endpoint's stream into chunks and knows the one that closes it.

    Raises TargetFailed for an error object in the stream, TargetGarbled for what is not JSON, TargetLost when the
    stream ends too early.
    """

    def __init__(self, endpoint: Endpoint, target: str, *, whole: bool = False) -> None:
        self.closed = False
        self._target = target
        self._whole = whole or endpoint in EMBEDDING
        self._endpoint = endpoint
        self._unopened = endpoint == "/v1/messages" and not self._whole
        self._held: bytes | None = None  # may turn out to be the last; only closing chunks are held back
        self._finished = False

    def take(self, value: bytes) -> list[Chunk]:
        if self.closed:
            return []
        if value == DONE:
            return self._release(last=True)
        try:
            if b"\n" in value or b"\r" in value:
                value = msgspec.json.format(value, indent=-1)
            peek = _PEEK.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TargetGarbled(self._target, f"not the JSON of {self._endpoint} ({error})") from error
        if peek.error or peek.type == "error":
            raise TargetFailed(self._target, said(msgspec.json.decode(value)) or "an error without words")
        if self._unopened and peek.type in ("message_start", "content_block_start", "message_delta"):
            self._unopened = False
            if peek.type != "message_start":
                return [Chunk(_opening()), *self.take(value)]
        if self._whole or self._is_closing(peek):
            self.closed = True
            return [Chunk(value, last=True)]
        if self._endpoint not in COMPLETIONS:
            return [Chunk(value)]
        if isinstance(peek.choices, list) and any(c.get("message") for c in peek.choices if isinstance(c, dict)):
            self.closed = True  # not a stream after all
            return [Chunk(value, last=True)]
        released = self._release(last=False)
        if not peek.choices or any(c.get("finish_reason") for c in peek.choices if isinstance(c, dict)):
            self._finished = self._finished or bool(peek.choices)
            self._held = value
            return released
        released.append(Chunk(value))
        return released

    def end(self) -> list[Chunk]:
        """The stream has ended."""
        if self.closed:
            return []
        if not self._finished:
            raise TargetLost(self._target, "the stream ended before the answer did")
        return self._release(last=True)

    def _release(self, *, last: bool) -> list[Chunk]:
        self.closed = last
        held, self._held = self._held, None
        return [Chunk(held, last=last)] if held is not None else []

    def _is_closing(self, peek: _Peek) -> bool:
        if self._endpoint in NATIVE:
            return peek.done is True
        if self._endpoint == "/v1/responses":
            return peek.type in RESPONSES_END or peek.object == "response"
        return self._endpoint == "/v1/messages" and peek.type in ("message_stop", "message")


def _opening() -> bytes:
    """The event that llama.cpp leaves out when its first token is only a part of a character."""
    told: dict[str, object] = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    message = {"id": f"msg_{ULID()}", "type": "message", "role": "assistant", "model": "", **told}
    return msgspec.json.encode({"type": "message_start", "message": message})


RESPONSES_END = frozenset({"response.completed", "response.incomplete", "response.failed"})


def parser_for(endpoint: Endpoint, content_type: str, *, sized: bool, target: str) -> Parser:
    """How to read a body: by its media type, else as `endpoint` streams. `sized`: its length was announced."""
    media = content_type.partition(";")[0].strip().lower()
    if endpoint in EMBEDDING:
        return Whole(target)
    if media == "text/event-stream":
        return Sse(target)
    if endpoint in NATIVE:
        # Some servers label an NDJSON stream application/json; nobody knows the length of a stream in advance.
        return Whole(target) if media == "application/json" and sized else Ndjson(target)
    return Whole(target) if media == "application/json" else Sse(target)


def is_usage_only(chunk: bytes) -> bool:
    """Whether a chunk of COMPLETIONS carries nothing but the usage, which only who asked for it expects."""
    if b'"usage"' not in chunk:
        return False
    peek = _PEEK.decode(chunk)
    return peek.choices == [] and peek.usage is not None


class _Peek(msgspec.Struct):
    done: Any = None
    error: Any = None
    type: Any = None
    object: Any = None
    choices: Any = None
    usage: Any = None


_PEEK = msgspec.json.Decoder(_Peek)


class _Lines:
    """Bytes into lines ended by LF, CRLF or CR; linear in the size of what comes, however it is cut."""

    def __init__(self, target: str, limit: int) -> None:
        self._target = target
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)  # of bytes: splits at LF, CRLF and CR only
        rest = b"" if lines[-1][-1:] in (b"\n", b"\r") else lines.pop()
        complete = [line.rstrip(b"\r\n") for line in lines]
        if complete and self._parts:
            complete[0] = b"".join(self._parts) + complete[0]
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise TargetGarbled(self._target, f"a line longer than {self._limit} bytes")
        return complete

    def end(self) -> list[bytes]:
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return [rest] if rest else []
