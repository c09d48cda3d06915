"""Views of errors: as answers, in the dialects, and in the middle of a stream."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.errors import ForemanError
from foreman.domain.job import State
from foreman.domain.views.kinds import about, schema


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error: a sentence and a code."""

    error: str
    code: str
    hint: str | None = None


class OllamaError(msgspec.Struct, frozen=True):
    """An error, as Ollama's API shows it."""

    error: str


class ErrorDetail(msgspec.Struct, frozen=True):
    """The inner object of an error, as OpenAI's API shows it."""

    message: str
    type: str
    param: str | None
    code: Annotated[str, about("A stable code.")]


class OpenAIError(msgspec.Struct, frozen=True):
    """An error, as OpenAI's API shows it."""

    error: ErrorDetail


class AnthropicError(msgspec.Struct, frozen=True, kw_only=True):
    """An error, as Anthropic's API shows it."""

    type: Annotated[str, schema(enum=["error"])] = "error"
    error: ErrorDetail
    request_id: Annotated[str | None, about("Always null.")] = None


class StreamStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the job of a stream: its next attempt, or its last state."""

    attempt: int | None = None
    state: State | None = None


class StreamMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of Foreman's own between the chunks of a stream."""

    error: str | None = None
    code: str | None = None
    hint: str | None = None
    foreman: StreamStatus = msgspec.field(default_factory=StreamStatus)


def show_error(error: ForemanError) -> Error:
    """Return the body of an error answer."""
    return Error(str(error), error.code, error.hint or None)
