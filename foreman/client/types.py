"""Views as a program gets them: with readers of the answer; keys that a newer Foreman adds are ignored."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from foreman.client.extract import (
    ToolCall,
    Usage,
    embeddings_of,
    known_usage,
    text_of,
    thinking_of,
    tool_calls_of,
    usage_of,
)
from foreman.client.reading import decode
from foreman.domain import views

T = TypeVar("T")


class Job(views.Job, frozen=True):
    """A job. Lists leave out `result` and `artifacts`."""

    @property
    def text(self) -> str:
        """The text of the answer, of any endpoint; empty when it has none."""
        return text_of(self.result)

    def read(self, kind: type[T]) -> T:
        """Return the answer as a `kind`, the type that was its `format`. Raise NotTheShape if it does not fit."""
        from foreman.client.typed import read  # imported here: its error has a job

        return read(kind, self.text)

    @property
    def thinking(self) -> str:
        """The reasoning text of the answer; empty when it has none."""
        return thinking_of(self.result)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The function calls that the model requests."""
        return tool_calls_of(self.result)

    @property
    def embeddings(self) -> list[list[float]]:
        """The vectors of an embeddings job, one for each input."""
        return embeddings_of(self.result)

    @property
    def usage(self) -> Usage:
        """The tokens of prompt and answer, and how fast it came."""
        return usage_of(self.result) if self.used is None else known_usage(self.used)


def as_job(line: bytes) -> Job:
    """Return a line of an export as a job. Raise DecodeError or TooMuch."""
    return decode(line, Job)


class Webhook(views.Webhook, frozen=True):
    """The body of a webhook to a job's `state_webhook_url`: one event."""

    @property
    def text(self) -> str:
        """The text of the answer; empty when it has none, or is large."""
        return text_of(self.result)


class Page(msgspec.Struct, frozen=True):
    """A page of jobs, and the cursor of the next one."""

    jobs: list[Job]
    next: str | None = None  # pass as `after`; None at the end


class Line(msgspec.Struct, frozen=True):
    """The waiting jobs."""

    jobs: list[Job]  # that may start, in order
    scheduled: list[Job] = []  # that wait for their `not_before`, the soonest first


class Submitted(views.Submitted, frozen=True):
    """Outcome of many submitted lines, over one or more requests."""

    last: int = 0  # the number of the last line covered
