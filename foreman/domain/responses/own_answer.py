"""The answer of a target in Foreman's name: a response with its id and numbers, a chat with the tier that it had."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints.chat_completions import ENDPOINT as CHAT
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.job import Job
from foreman.domain.responses import numbers
from foreman.domain.responses.conversation import fields_of
from foreman.domain.responses.request import wanted_of
from foreman.domain.responses.shown import answered, named
from foreman.domain.responses.tiers import TIER, tier_of

OPENING = ("response.created", "response.queued", "response.in_progress")  # Foreman has its own of these
_NULL = msgspec.Raw(b"null")
EVENTS = "events"  # the artifact with the events of a response that is followed in the background


def own_answer(job: Job, payload: bytes) -> OwnAnswer | None:
    """Return what becomes of the answer to a job's request; None for one that stays as it is."""
    if job.endpoint == RESPONSES.path:
        return OwnResponse(job, payload)
    if job.endpoint == CHAT.path and TIER.encode() in payload:
        asked = fields_of(payload).get(TIER, _NULL)
        return None if asked == _NULL else TieredChat(tier_of(job.priority, asked=asked))
    return None


class OwnAnswer:
    """What becomes of the chunks of one attempt."""

    keeps = False  # whether they are kept as events, for readers who come back for the rest

    def __init__(self) -> None:
        self.kept: list[bytes] = []  # the events, without those that open the answer

    def of(self, chunk: Chunk) -> Chunk:
        """Return a chunk in Foreman's name."""
        raise NotImplementedError

    def events(self) -> bytes:
        """Return the events that were kept, one a line."""
        return b"\n".join(self.kept)


class TieredChat(OwnAnswer):
    """What becomes of a chat whose request named a service tier: all of it says which one it had."""

    def __init__(self, tier: str) -> None:
        super().__init__()
        self._tier = tier

    def of(self, chunk: Chunk) -> Chunk:
        """See `OwnAnswer.of`."""
        if chunk.cut:
            return chunk
        value: dict[str, Any] = msgspec.json.decode(chunk.data) if chunk.value is None else chunk.value
        if "choices" not in value:  # an error
            return chunk
        value = {**value, TIER: self._tier}
        whole = chunk.whole and msgspec.json.encode({**fields_of(chunk.whole), TIER: self._tier})
        return Chunk(msgspec.json.encode(value), last=chunk.last, value=value, whole=whole)


class OwnResponse(OwnAnswer):
    """What becomes of the chunks of one attempt at a response.

    A caller who waits gets the answer of its target under another id, with what every response has. In the background
    it is made whole as well. The events of a response that was made to be streamed in the background are numbered by
    Foreman, and kept: its readers may come back for the rest.
    """

    def __init__(self, job: Job, payload: bytes) -> None:
        super().__init__()
        fields = fields_of(payload)
        fields.pop("input", None)
        self._job = job
        self._payload = fields
        self._whole: bytes | None = None
        self._background = wanted_of(fields).background
        self._shown = answered if self._background else named
        self.keeps = self._background and fields.get("stream") == msgspec.Raw(b"true")

    def of(self, chunk: Chunk) -> Chunk:
        """See `OwnAnswer.of`."""
        if chunk.cut:
            return chunk
        value: dict[str, Any] = msgspec.json.decode(chunk.data) if chunk.value is None else chunk.value
        kind, response = value.get("type"), value.get("response")
        numbered = self.keeps and kind is not None and kind not in OPENING
        if isinstance(response, dict):
            shown = self._shown(self._job, self._payload, response)
            if self._background and kind in OPENING:
                shown["status"] = "in_progress"
            value = {**value, "response": shown}
        elif not numbered and not (kind is None and value.get("object") == "response"):
            return chunk
        elif not numbered:
            value = self._shown(self._job, self._payload, value)
        if numbered:
            value = {**value, "sequence_number": numbers.first_of(self._job.fence) + len(self.kept)}
        data = msgspec.json.encode(value)
        if numbered:
            self.kept.append(data)
        return Chunk(data, last=chunk.last, value=value, whole=self._named(chunk.whole))

    def _named(self, whole: bytes | None) -> bytes | None:
        """Return the whole answer of a target that did not stream; it comes with each of its chunks."""
        if whole is not None and self._whole is None:
            answer = fields_of(whole)
            self._whole = msgspec.json.encode(self._shown(self._job, self._payload, answer))
        return self._whole if whole is not None else None
