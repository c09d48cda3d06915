"""Decoding of the values of one endpoint's stream into chunks, up to the end of the answer; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec
from ulid import ULID

from foreman.domain.endpoints import COMPLETIONS, EMBEDDING, NATIVE, Endpoint
from foreman.domain.errors import TargetFailed, TargetGarbled, TargetLost
from foreman.domain.json_weight import MOST_VALUES, has_more_values
from foreman.targets.answers.choices import Growing, is_whole
from foreman.targets.answers.failures import NO_MESSAGE, ODD, error_message, failure
from foreman.targets.answers.indexes import BlockSorter
from foreman.targets.answers.mend import Mender
from foreman.targets.answers.parsers import DONE
from foreman.targets.answers.refusals import clean
from foreman.targets.answers.tool_calls import CallSorter, with_objects
from foreman.targets.answers.unfold import unfold
from foreman.targets.protocol import Chunk

Json = dict[str, Any]

EVENTS_END = ("message_stop", "response.completed", "response.incomplete")
EXCERPT = 200  # bytes of an unreadable value that the error quotes

LARGE = 64 * 2**10  # bytes; larger embedding answers, and their larger members, are not decoded


class Decoder:
    """Decoder of one endpoint's stream: values in, chunks out, up to the one that closes the answer.

    Each value is read once. Values that clients could not read are repaired; all others stay as they came. Its methods
    raise TargetFailed for an answer that reports its failure, TargetGarbled for anything but JSON of the endpoint, and
    TargetLost when the stream ends too early.
    """

    def __init__(self, endpoint: Endpoint, target: str, *, choices: int = 1) -> None:
        """Expect as many `choices` as the request asked for."""
        self.closed = False
        self._endpoint = endpoint
        self._target = target
        self._choices = choices
        self._mender = Mender(self._pauses)
        self._held: Chunk | None = None  # may be the last: only chunks that may end the answer are held
        self._unopened = endpoint == "/v1/messages"
        self._has_content = False  # it had content, not only the frame of an answer
        self._over = False  # the end was announced, at an endpoint without choices
        self._unknown: Json | None = None  # the last value, if it has neither choices nor usage
        self._begun: dict[int, bool] = {}  # by the index of a choice: True if finished
        self._open = 0  # number of unfinished choices
        self._calls: dict[int, CallSorter] = {}
        self._blocks = BlockSorter()
        self._grown: dict[int, Growing] = {}

    @property
    def ending(self) -> bool:
        """Return True if the answer is complete; the usage or a last mark may still come."""
        if self.closed or self._over:
            return True
        return self._finished and len(self._begun) >= self._choices

    def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
        """Return the chunks that the next value makes; `whole` marks a body of one value, sent without a stream."""
        if self.closed:
            return []
        if value.startswith(DONE):  # clients stop reading here too
            return self._done()
        if self._endpoint not in EMBEDDING and has_more_values(value):
            raise TargetGarbled(self._target, f"a chunk of more than {MOST_VALUES} values")
        try:
            values = self._read(value)
        except ODD as error:
            excerpt = clean(value[:EXCERPT].decode("utf-8", "replace"))
            raise TargetGarbled(self._target, f"not the JSON of {self._endpoint} ({error}): {excerpt}") from error
        if whole:
            values += self._mender.flush()
        return self._all(values, whole=whole)

    def _read(self, value: bytes) -> list[tuple[bytes, Any]]:
        if self._endpoint in EMBEDDING and len(value) > LARGE:
            return [(value, _frame(value))]
        return self._mender.read(value)

    def end(self, *, framed: bool) -> list[Chunk]:
        """Return the chunks left at the end of the body; `framed` marks an end that the body itself announced."""
        chunks = self._all(self._mender.flush())
        if self.closed:
            return chunks
        if self._finished or self._over:
            return chunks + self._release(last=True)
        self._check_unknown()
        if framed and self._has_content:
            chunks += self._release(last=False)
            self.closed = True
            return [*chunks, Chunk(b"", cut=True)]
        raise TargetLost(self._target, "the stream ended before the answer did")

    def _done(self) -> list[Chunk]:
        if self._endpoint not in COMPLETIONS:
            return self.end(framed=True)
        chunks = self._all(self._mender.flush())
        self._check_unknown()
        if not self._has_content and not self._finished:
            raise TargetFailed(self._target, "the stream ended without an answer")
        return chunks + self._release(last=True)

    def _check_unknown(self) -> None:
        if self._unknown is not None:
            raise TargetFailed(self._target, error_message(self._unknown))

    def _all(self, values: list[tuple[bytes, Any]], *, whole: bool = False) -> list[Chunk]:
        chunks: list[Chunk] = []
        for data, value in values:
            if not isinstance(value, dict):
                raise TargetGarbled(self._target, f"not the JSON of {self._endpoint} (a value that is not an object)")
            if b"\n" in data or b"\r" in data:
                data = msgspec.json.format(data, indent=-1)
            try:
                if (why := failure(self._endpoint, value)) is not None:
                    raise TargetFailed(self._target, why)
                if not self.closed:
                    chunks += self._take(data, value, whole=whole)
            except ODD as error:
                raise TargetGarbled(self._target, f"a chunk of an unknown shape for {self._endpoint}") from error
        return chunks

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        if self._endpoint in COMPLETIONS:
            return self._take_choices(data, value, whole=whole)
        if whole or self._endpoint in EMBEDDING:
            return self._take_whole(data, value)
        return self._take_line(data, value) if self._endpoint in NATIVE else self._take_event(data, value)

    def _take_line(self, data: bytes, value: Json) -> list[Chunk]:
        message = value.get("message") or {}
        if not self._has_content:
            content = [item for name, item in message.items() if name != "role"]
            self._has_content = bool(value.get("response") or value.get("thinking")) or any(content)
        if self._endpoint == "/api/chat" and (calls := message.get("tool_calls")) and with_objects(calls):
            data = msgspec.json.encode(value)
        self.closed = value.get("done") is True
        return [Chunk(data, last=self.closed, value=value)]

    def _take_event(self, data: bytes, value: Json) -> list[Chunk]:
        kind = value.get("type")
        if kind == "message" or (kind is None and value.get("object") == "response"):
            return self._take_whole(data, value)
        if self._unopened and kind in ("message_start", "content_block_start", "message_delta"):
            self._unopened = False
            if kind != "message_start":
                return [_opening(), *self._take_event(data, value)]
        if self._blocks.sort(value):
            data = msgspec.json.encode(value)
        delta = value.get("delta")
        self._has_content = self._has_content or bool(delta) or kind == "response.output_item.done"
        if kind in EVENTS_END:
            self.closed = True
            return self._pass(Chunk(data, last=True, value=value))
        if kind == "message_delta" and delta and delta.get("stop_reason"):
            self._over = True
        chunk = Chunk(data, value=value)
        return self._hold(chunk) if self._over else self._pass(chunk)

    def _take_whole(self, data: bytes, value: Json) -> list[Chunk]:
        """Return the chunks of an answer that came whole; they carry the original."""
        self.closed = True
        if self._endpoint in COMPLETIONS and not value.get("choices"):
            raise TargetFailed(self._target, error_message(value) if value else NO_MESSAGE)
        chunks = self._release(last=False)
        *others, last = unfold(self._endpoint, value)
        if last is value:
            return [*chunks, Chunk(data, last=True, value=value)]
        chunks += [Chunk(msgspec.json.encode(one), value=one, whole=data) for one in others]
        return [*chunks, Chunk(msgspec.json.encode(last), last=True, value=last, whole=data)]

    def _take_choices(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        choices = value.get("choices") or []
        one = choices and not self._begun and value.get("usage") and all(is_whole(choice) for choice in choices)
        if whole or one:  # a choice without usage waits for it
            return self._take_whole(data, value)
        changed = value.get("choices") is None and bool(value.get("usage"))
        if changed:
            value["choices"] = []  # clients iterate over it
        ends = not choices
        for choice in choices:
            changed |= self._take_choice(choice)
            ends = ends or bool(choice.get("finish_reason"))
        if changed:
            data = msgspec.json.encode(value)
        self._unknown = value if not choices and value.get("usage") is None and not self._finished else None
        chunk = Chunk(data, value=value)
        return self._hold(chunk) if ends else self._pass(chunk)

    def _take_choice(self, choice: Json) -> bool:
        """Take one choice of a chunk; return True if it had to be changed."""
        index = choice.get("index") or 0
        before = self._begun.get(index)
        now = self._begun[index] = bool(before or choice.get("finish_reason"))
        self._open += (not now) - (before is False)
        changed = False
        delta, message = choice.get("delta"), choice.get("message")
        unsent = not delta and not self._has_content and choice.get("finish_reason")
        if isinstance(message, dict) and (delta is None or unsent):
            delta = choice["delta"] = self._grown.setdefault(index, Growing()).news(message)
            del choice["message"]
            changed = True
        if delta and (delta.get("tool_calls") or delta.get("function_call")):
            changed |= self._calls.setdefault(index, CallSorter()).sort(delta)
        if not self._has_content:
            content = [item for name, item in (delta or {}).items() if name != "role"]
            self._has_content = bool(choice.get("text")) or any(content)
        return changed

    @property
    def _finished(self) -> bool:
        return bool(self._begun) and not self._open

    def _pass(self, chunk: Chunk) -> list[Chunk]:
        return [chunk] if self._held is None else [*self._release(last=False), chunk]

    def _hold(self, chunk: Chunk) -> list[Chunk]:
        released, self._held = self._release(last=False), chunk
        return released

    def _release(self, *, last: bool) -> list[Chunk]:
        self.closed = self.closed or last
        held, self._held = self._held, None
        return [msgspec.structs.replace(held, last=last)] if held is not None else []

    def _pauses(self, value: Any) -> bool:
        """Return True if no text continues after `value`."""
        try:
            if self._endpoint in NATIVE:
                return bool(value.get("done"))
            if self._endpoint in COMPLETIONS:
                return not (choices := value.get("choices")) or any(one.get("finish_reason") for one in choices)
            return not value["type"].endswith("delta")
        except ODD:
            return True


def _frame(value: bytes) -> Json:
    """Return a large value with its large members as raw JSON; raise UnicodeDecodeError for a broken text."""
    value.decode()
    members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    return {name: raw if len(memoryview(raw)) > LARGE else msgspec.json.decode(raw) for name, raw in members.items()}


def _opening() -> Chunk:
    """Return the message_start that llama.cpp omits when its first token is only a part of a character."""
    empty: Json = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    message = {"id": f"msg_{ULID()}", "type": "message", "role": "assistant", "model": "", **empty}
    value: Json = {"type": "message_start", "message": message}
    return Chunk(msgspec.json.encode(value), value=value)
