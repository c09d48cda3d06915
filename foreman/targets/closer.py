"""From the values of one endpoint's stream to chunks: what they mean for the answer and for its end; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from ulid import ULID

from foreman.endpoints import COMPLETIONS, EMBEDDING, NATIVE, Endpoint
from foreman.errors import TargetFailed, TargetGarbled, TargetLost
from foreman.targets.failures import WORDLESS, failure, words
from foreman.targets.mend import Mender
from foreman.targets.protocol import Chunk
from foreman.targets.streams import DONE
from foreman.targets.tool_calls import CallSorter, with_objects
from foreman.targets.unfold import unfold

Json = dict[str, Any]

RESPONSES_END = frozenset({"response.completed", "response.incomplete"})
ODD = (TypeError, AttributeError, KeyError, ValueError, IndexError, RecursionError)  # what nonsense leads to


class Closer:
    """Turns the values of one endpoint's stream into chunks and knows the one that closes it.

    Each value is read once; what clients could not read is put right on the way, and everything else stays as it came.
    Raises TargetFailed for an answer that says it failed, TargetGarbled for what is not JSON, TargetLost when the
    stream ends too early.
    """

    def __init__(self, endpoint: Endpoint, target: str, *, choices: Callable[[], int] = lambda: 1) -> None:
        """`choices` tells how many were asked for; it is called once they may be complete."""
        self.closed = False
        self._endpoint = endpoint
        self._target = target
        self._choices = choices
        self._mender = Mender(self._pauses)
        self._held: Chunk | None = None  # may turn out to be the last; only chunks after which all may be said are held
        self._unopened = endpoint == "/v1/messages"
        self._said = False  # there was an answer in it, not only its frame
        self._over = False  # of an endpoint without choices: the end was said
        self._odd: Json | None = None  # the last value, if it has neither choices nor usage
        self._begun: dict[int, bool] = {}  # choices by index: whether they are finished
        self._calls: dict[int, CallSorter] = {}
        self._grown: dict[int, _Grown] = {}

    @property
    def ending(self) -> bool:
        """Whether all was said that matters, though the usage or a last mark may still come."""
        if self.closed or self._over:
            return True
        return self._finished and len(self._begun) >= self._choices()

    def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
        """Return the chunks that the next value makes. `whole`: it is all of the body, and was not sent as a stream."""
        if self.closed:
            return []
        if value == DONE:
            return self._done()
        try:
            values = self._mender.read(value)
        except (msgspec.DecodeError, *ODD) as error:
            raise TargetGarbled(self._target, f"not the JSON of {self._endpoint} ({error})") from error
        if whole:
            values += self._mender.flush()
        return self._all(values, whole=whole)

    def end(self, *, framed: bool) -> list[Chunk]:
        """Return what is left when nothing more comes. `framed`: the body said so itself, it did not just break off."""
        chunks = self._all(self._mender.flush())
        if self.closed:
            return chunks
        if self._finished or self._over:
            return chunks + self._release(last=True)
        self._check_odd()
        if framed and self._said:
            chunks += self._release(last=False)
            self.closed = True
            return [*chunks, Chunk(b"", cut=True)]
        raise TargetLost(self._target, "the stream ended before the answer did")

    def _done(self) -> list[Chunk]:
        if self._endpoint not in COMPLETIONS:
            return self.end(framed=True)
        chunks = self._all(self._mender.flush())
        self._check_odd()
        if not self._said and not self._finished:
            raise TargetFailed(self._target, "the stream ended without an answer")
        return chunks + self._release(last=True)

    def _check_odd(self) -> None:
        if self._odd is not None:
            raise TargetFailed(self._target, words(self._odd))

    def _all(self, values: list[tuple[bytes, Any]], *, whole: bool = False) -> list[Chunk]:
        chunks: list[Chunk] = []
        for data, value in values:
            if not isinstance(value, dict):
                raise TargetGarbled(self._target, f"not the JSON of {self._endpoint} (a value that is no object)")
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
        if whole or self._endpoint in EMBEDDING or self._is_whole(value):
            return self._take_whole(data, value)
        if self._unopened and value.get("type") in ("message_start", "content_block_start", "message_delta"):
            self._unopened = False
            if value["type"] != "message_start":
                return [_opening(), *self._take(data, value, whole=False)]
        if self._endpoint == "/api/chat" and (calls := (value.get("message") or {}).get("tool_calls")):
            data = msgspec.json.encode(value) if with_objects(calls) else data
        self._said = self._said or self._says_something(value)
        if self._closes(value):
            self.closed = True
            return [*self._release(last=False), Chunk(data, last=True, value=value)]
        chunks = self._release(last=False)
        if self._over or self._ends(value):
            self._over = True
            self._held = Chunk(data, value=value)
            return chunks
        return [*chunks, Chunk(data, value=value)]

    def _take_whole(self, data: bytes, value: Json) -> list[Chunk]:
        """The answer as it came is what is kept; who asked for a stream gets one."""
        self.closed = True
        if self._endpoint in COMPLETIONS and not value.get("choices"):
            raise TargetFailed(self._target, words(value) if value else WORDLESS)
        chunks = self._release(last=False)
        *others, last = unfold(self._endpoint, value)
        if last is value:
            return [*chunks, Chunk(data, last=True, value=value)]
        chunks += [Chunk(msgspec.json.encode(one), value=one, whole=data) for one in others]
        return [*chunks, Chunk(msgspec.json.encode(last), last=True, value=last, whole=data)]

    def _take_choices(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
        choices = value.get("choices") or []
        if whole or (choices and not self._begun and all(_is_whole_choice(choice) for choice in choices)):
            return self._take_whole(data, value)
        changed = value.get("choices") is None and bool(value.get("usage"))
        if changed:
            value["choices"] = []  # which clients go through
        for choice in choices:
            changed |= self._take_choice(choice)
        if changed:
            data = msgspec.json.encode(value)
        self._odd = value if not choices and value.get("usage") is None and not self._finished else None
        chunks = self._release(last=False)
        if self._ends(value):
            self._held = Chunk(data, value=value)
            return chunks
        return [*chunks, Chunk(data, value=value)]

    def _take_choice(self, choice: Json) -> bool:
        """Take one choice of a chunk. Return True if it had to be changed."""
        index = choice.get("index") or 0
        self._begun[index] = self._begun.get(index, False) or bool(choice.get("finish_reason"))
        changed = False
        delta, message = choice.get("delta"), choice.get("message")
        untold = not delta and not self._said and choice.get("finish_reason")
        if isinstance(message, dict) and (delta is None or untold):
            delta = choice["delta"] = self._grown.setdefault(index, _Grown()).news(message)
            del choice["message"]
            changed = True
        if delta and (delta.get("tool_calls") or delta.get("function_call")):
            changed |= self._calls.setdefault(index, CallSorter()).sort(delta)
        if not self._said:
            said = [item for name, item in (delta or {}).items() if name != "role"]
            self._said = bool(choice.get("text")) or any(said)
        return changed

    @property
    def _finished(self) -> bool:
        return bool(self._begun) and all(self._begun.values())

    def _release(self, *, last: bool) -> list[Chunk]:
        self.closed = self.closed or last
        held, self._held = self._held, None
        return [msgspec.structs.replace(held, last=last)] if held is not None else []

    def _ends(self, value: Json) -> bool:
        """Whether `value` may be the last that matters: it ends a choice, or has none."""
        if self._endpoint in COMPLETIONS:
            choices = value.get("choices")
            return not choices or any(choice.get("finish_reason") for choice in choices)
        if self._endpoint == "/v1/messages":
            delta = value.get("delta")
            return value.get("type") == "message_delta" and bool(delta and delta.get("stop_reason"))
        return False

    def _pauses(self, value: Any) -> bool:
        """Whether no text that was begun goes on after `value`."""
        try:
            if self._endpoint in NATIVE:
                return bool(value.get("done"))
            return self._ends(value) if self._endpoint in COMPLETIONS else not value["type"].endswith("delta")
        except ODD:
            return True

    def _closes(self, value: Json) -> bool:
        if self._endpoint in NATIVE:
            return value.get("done") is True
        return value.get("type") in RESPONSES_END or value.get("type") == "message_stop"

    def _is_whole(self, value: Json) -> bool:
        if self._endpoint == "/v1/responses":
            return value.get("object") == "response" and "type" not in value
        return self._endpoint == "/v1/messages" and value.get("type") == "message"

    def _says_something(self, value: Json) -> bool:
        if self._endpoint in NATIVE:
            message = value.get("message") or {}
            return bool(value.get("response") or value.get("thinking")) or any(
                item for name, item in message.items() if name != "role"
            )
        kind = str(value.get("type"))
        return (bool(value.get("delta")) and kind.endswith("delta")) or kind == "response.output_item.done"


class _Grown:
    """The message of a choice that has no delta: what is new in it, whether it is told anew each time or in pieces."""

    def __init__(self) -> None:
        self._texts: dict[str, str | None] = {}  # so far; None: it comes in pieces
        self._calls = 0

    def news(self, message: Json) -> Json:
        told: Json = {}
        for name, item in message.items():
            if isinstance(item, str) and name != "role":
                told[name] = self._new_text(name, item)
            elif name == "tool_calls" and isinstance(item, list):
                told[name], self._calls = item[self._calls :], max(self._calls, len(item))
            else:
                told[name] = item
        return told

    def _new_text(self, name: str, text: str) -> str:
        known = self._texts.get(name, "")
        if known is None:
            return text
        if text.startswith(known):
            self._texts[name] = text
            return text[len(known) :]
        if known.startswith(text):
            return ""
        self._texts[name] = None
        return text


def _is_whole_choice(choice: Json) -> bool:
    return choice.get("delta") is None and isinstance(choice.get("message"), dict) and bool(choice.get("finish_reason"))


def choices_asked(payload: bytes) -> int:
    """Return how many choices a payload of COMPLETIONS asks for."""
    try:
        asked = _ASKED.decode(payload)
    except msgspec.DecodeError:
        return 1
    each = asked.n if isinstance(asked.n, int) else 1
    prompts = asked.prompt if isinstance(asked.prompt, list) and asked.prompt else [""]
    return max(each, 1) * (1 if isinstance(prompts[0], int) else len(prompts))


class _Asked(msgspec.Struct):
    n: Any = 1
    prompt: Any = None


_ASKED = msgspec.json.Decoder(_Asked)


def _opening() -> Chunk:
    """The event that llama.cpp leaves out when its first token is only a part of a character."""
    told: Json = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    message = {"id": f"msg_{ULID()}", "type": "message", "role": "assistant", "model": "", **told}
    value: Json = {"type": "message_start", "message": message}
    return Chunk(msgspec.json.encode(value), value=value)
