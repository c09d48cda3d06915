"""The base of all endpoints: what Foreman needs to know about one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from foreman.domain.answers.chunk import NO_LABEL, Chunk, Label
from foreman.domain.answers.decoder import Decoder
from foreman.domain.answers.failures import FAILURES, MESSAGE_KEYS, error_message
from foreman.domain.answers.joiner import Answer, Joiner
from foreman.domain.answers.parsers import Parser, SseOrWhole
from foreman.domain.endpoints.question import Question, streaming

Json: TypeAlias = dict[str, Any]
Purpose: TypeAlias = Literal["load", "unload"]
Dialect: TypeAlias = Literal["ollama", "openai", "anthropic"]


class Endpoint:
    """Everything about one endpoint: how to ask, how to read its answer, how to serve it.

    The defaults are those of an endpoint of OpenAI's API that streams server-sent events.
    """

    path: ClassVar[str]
    operation: ClassVar[str]  # its name in the OpenAPI description
    summary: ClassVar[str] = "Run a job and wait for its answer"
    dialect: ClassVar[Dialect] = "openai"
    content: ClassVar[frozenset[str]]  # each value of an answer has one of these keys

    job: ClassVar[bool] = True  # POST /jobs takes it
    past_queue: ClassVar[bool] = False  # its calls skip the queue; its answers are one value, never streamed
    native: ClassVar[bool] = False  # of Ollama's own API
    prompt_key: ClassVar[str | None] = None  # of the prompt; a request without one may only load or unload a model
    unnamed_is_unknown: ClassVar[bool] = False  # a request without a model is answered as one for an unknown model
    on_ollama: ClassVar[bool] = True  # an Ollama server has it
    counting: ClassVar[str | None] = None  # the route that counts the tokens of its requests
    counting_operation: ClassVar[str] = ""
    counted_as: ClassVar[Json] = {}  # the fields of a count besides the number

    adds_usage: ClassVar[bool] = False  # Foreman asks for the usage of a stream, which the caller may not expect
    typed: ClassVar[bool] = False  # events of a stream carry their type as the event name too
    whole_name: ClassVar[bytes | None] = None  # the event name of a whole answer

    def question(self, payload: bytes, model: str | None = None) -> Question:
        """Return the request for `payload`, with `model` set if given. Raise TargetRefused unless it is an object."""
        return streaming(self.path, payload, model, usage=self.adds_usage, streams_by_default=self.native)

    def choices(self, payload: bytes) -> int:
        """Return the number of choices that a request asks for."""
        return 1

    def parser(self, content_type: str, *, sized: bool, target: str) -> Parser:
        """Return the parser for a body; `sized` marks a body whose length was announced."""
        return SseOrWhole(target)

    def decoder(self, target: str, *, choices: int = 1) -> Decoder:
        """Return the decoder of an answer that `target` gives; it has as many `choices` as the request asked for."""
        raise NotImplementedError

    def answer(self, target: str = "the target") -> Answer:
        """Return an empty answer, which grows by chunks."""
        return Answer(self.joiner(), self.failure, target)

    def joiner(self) -> Joiner:
        """Return the joiner of the chunks of one answer."""
        return Joiner()

    def failure(self, value: Json) -> str | None:
        """Return the server's message if a value of an answer reports a failure, else None."""
        if value.get("error") or value.get("type") in FAILURES or value.get("object") == "error":
            return error_message(value)
        return self.failed(value)

    def failed(self, value: Json) -> str | None:
        """Return the message of a failure that is told in the endpoint's own way, else None."""
        if self.content.isdisjoint(value):
            return error_message(value) if any(value.get(name) for name in MESSAGE_KEYS) else None
        return None

    def label(self, value: Json) -> Label:
        """Return the label of a chunk with this value."""
        return NO_LABEL

    def unfold(self, answer: Json) -> list[Json]:
        """Return the values of a stream for a whole answer; the answer itself if a stream may be one value."""
        return [answer]

    def only_loads(self, payload: bytes) -> Purpose | None:
        """Return the purpose of a payload that only loads or unloads a model, else None.

        Raise TargetRefused with status 400 for a payload of another shape.
        """
        return None

    def loaded(self, model: str, created_at: str, reason: Purpose) -> Chunk:
        """Return the whole answer to a request that only loads or unloads a model."""
        raise NotImplementedError

    def translated(self, payload: bytes, model: str) -> Question:
        """Return the request of a `native` endpoint for a server with OpenAI's API; `model` is that server's name.

        Raise TargetRefused with status 400 for a payload of another shape.
        """
        raise NotImplementedError

    def translator(self, model: str, target: str, *, load_ns: int) -> Translator:
        """Return the translator of its answer, which reports `model` and `load_ns`, the nanoseconds of loading."""
        raise NotImplementedError


class Translator(Protocol):
    """Converts the chunks of an answer of OpenAI's API into those of a native endpoint."""

    def translate(self, chunks: Collection[Chunk], *, closed: bool, created_at: str, elapsed_ns: int) -> list[Chunk]:
        """Return the chunks; `closed` is True once the answer is complete, `elapsed_ns` counts from the request.

        `created_at` is RFC 3339. Raise TargetGarbled for an unknown shape.
        """
