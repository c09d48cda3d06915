"""What `/v1/chat/completions` and `/v1/completions` have in common: choices that grow by chunks."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from foreman.domain.answers.choices import Growing, choices_asked, is_whole
from foreman.domain.answers.chunk import EMPTY_USAGE, NO_LABEL, USAGE_ALONE, Chunk, Label, Usage
from foreman.domain.answers.decoder import Decoder, Form
from foreman.domain.answers.failures import MESSAGE_KEYS, NO_MESSAGE, bad_ending, error_message
from foreman.domain.answers.joiner import Joiner
from foreman.domain.answers.merge import absorb, packed, settled
from foreman.domain.answers.tool_calls import CallSorter
from foreman.domain.endpoints.endpoint import Endpoint, Json
from foreman.domain.errors import TargetFailed

TOP = ("id", "object", "created", "model", "system_fingerprint", "service_tier")  # in every chunk


class CompletionEndpoint(Endpoint):
    """An endpoint with choices: usage on request only, and [DONE] at the end of a stream."""

    adds_usage = True

    def choices(self, payload: bytes) -> int:
        """See `Endpoint.choices`."""
        return choices_asked(payload)

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """See `Endpoint.decoder`."""
        return ChoiceDecoder(self, target, choices=choices)

    def label(self, value: Json) -> Label:
        """See `Endpoint.label`. A usage with counts in a chunk with choices stays: the server sends it unasked."""
        if "usage" not in value:
            return NO_LABEL
        usage = value["usage"]
        if usage and not value.get("choices"):
            return USAGE_ALONE
        return NO_LABEL if isinstance(usage, dict) and any(usage.values()) else EMPTY_USAGE

    def failed(self, value: Json) -> str | None:
        """See `Endpoint.failed`."""
        choices = value.get("choices")
        if not choices:
            if value.get("usage") or not any(value.get(name) for name in MESSAGE_KEYS):
                return None
            return error_message(value)
        for choice in choices:
            if choice.get("error"):
                return error_message(choice)
            if why := bad_ending("finish_reason", choice.get("finish_reason")):
                return why
        return None


class ChoiceDecoder(Decoder):
    """Decoder of chunks with choices, up to the last one that all choices and the usage need."""

    def __init__(self, form: Form, target: str, *, choices: int) -> None:
        """Expect as many `choices` as the request asked for."""
        super().__init__(form, target)
        self._choices = choices
        self._unknown: Json | None = None  # the last value, if it has neither choices nor usage
        self._begun: dict[int, bool] = {}  # by the index of a choice: True if finished
        self._open = 0  # number of unfinished choices
        self._calls: dict[int, CallSorter] = {}
        self._grown: dict[int, Growing] = {}

    @property
    def ending(self) -> bool:
        """See `Decoder.ending`."""
        return self.closed or (self._finished and len(self._begun) >= self._choices)

    def _done(self) -> list[Chunk]:
        chunks = self._all(self._mender.flush())
        self._check_end()
        if not self._has_content and not self._finished:
            raise TargetFailed(self._target, "the stream ended without an answer")
        return chunks + self._release(last=True)

    def _check_end(self) -> None:
        if self._unknown is not None:
            raise TargetFailed(self._target, error_message(self._unknown))

    def _take_whole(self, data: bytes, value: Json) -> list[Chunk]:
        if not value.get("choices"):
            self.closed = True
            raise TargetFailed(self._target, error_message(value) if value else NO_MESSAGE)
        return super()._take_whole(data, value)

    def _take(self, data: bytes, value: Json, *, whole: bool) -> list[Chunk]:
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

    def _ends_text(self, value: Any) -> bool:
        return not (choices := value.get("choices")) or any(one.get("finish_reason") for one in choices)


class ChoiceJoiner(Joiner):
    """Joiner of choices key by key."""

    kind: str  # of the joined object

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, value: dict[str, Any]) -> None:
        """See `Joiner.add`."""
        for choice in value.pop("choices", None) or ():
            index = choice["index"] = choice.get("index") or 0
            self.grown += index not in self._choices
            state = self._choices.setdefault(index, {"index": index})
            if choice.get("delta") is not None:
                choice.pop("message", None)  # the text so far, or the delta repeated
            self.grown += absorb(state, choice)
        self.grown -= len(self._top)
        for name, item in value.items():
            if item is not None or name not in self._top:
                self._top[name] = packed(item)
        self.grown += len(self._top)

    def result(self) -> dict[str, Any] | None:
        """See `Joiner.result`."""
        if not self._choices:
            return None
        usage = self._top.pop("usage", None)
        choices = [self._choice(settled(state)) for _, state in sorted(self._choices.items())]
        top = {**self._top, "object": self.kind, "choices": choices}
        return top if usage is None else {**top, "usage": usage}

    def _choice(self, state: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


def without_usage(chunk: bytes, usage: Usage) -> bytes | None:
    """Return a chunk for a caller who did not ask for the usage; None for one that is nothing else.

    An empty usage is cut out of the text, which is otherwise as the server wrote it.
    """
    if usage is Usage.NONE:
        return chunk
    if usage is Usage.ALONE:
        return None
    if chunk.count(b'"usage"') == 1 and (found := _EMPTY.search(chunk)):
        begin, end = found.span()
        if found["before"]:
            return chunk[:begin] + chunk[end:]
        after = chunk[end:].lstrip()
        return chunk[:begin] + after.removeprefix(b",")
    fields = msgspec.json.decode(chunk, type=dict[str, msgspec.Raw])  # another member has the name too
    del fields["usage"]
    return msgspec.json.encode(fields)


_EMPTY = re.compile(rb'(?P<before>,\s*)?"usage"\s*:\s*(?:null|\{[^{}]*\})')
