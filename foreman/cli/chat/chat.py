"""A chat under way, and one turn of it: the question as a job, its answer on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import msgspec

from foreman.cli.answer import say_failed, show_answer, show_figures
from foreman.cli.chat.conversation import Conversation
from foreman.cli.chat.images import take_images
from foreman.cli.commands.models import Described, described
from foreman.cli.console import Typed
from foreman.cli.near_names import suggest
from foreman.cli.plain import one_line
from foreman.client import Accepted, Client, ClientError, Job, NotFound, requests
from foreman.client.reading import decode
from foreman.domain.job import State


@dataclass(slots=True)
class Chat:
    """A chat: the conversation, and how its answers are shown."""

    client: Client
    conversation: Conversation
    priority: Literal["high", "normal", "low"] = "high"
    verbose: bool = False
    silent: bool = False  # show no progress
    images: list[bytes] = field(default_factory=list)  # of the next question
    _known: dict[str, Described] = field(default_factory=dict)

    def describe(self) -> Described:
        """Return what the target tells of the model. Raise NotFound for an unknown one, with the nearest names."""
        model = self.conversation.model
        if model not in self._known:
            try:
                self._known[model] = decode(self.client.raw(described(model)), Described)
            except NotFound as error:
                suggest(self.client, error, model)
                raise
            except msgspec.DecodeError:
                self._known[model] = Described()
        return self._known[model]

    def ask(self, prompt: str, *, show: bool = True) -> Job:
        """Ask the model, show its answer, and return the ended job.

        An answer becomes part of the conversation; of one that was stopped, the part that came. A stopped job is
        cancelled. Raise a ClientError, KeyboardInterrupt or SystemExit.
        """
        images, self.images = self.images, []
        body = self.conversation.body(prompt, images, self.priority)
        try:
            job_id = decode(self.client.raw(requests.submit(body)), Accepted).job_id
        except NotFound as error:
            suggest(self.client, error, self.conversation.model)
            raise
        text = Typed() if show else None
        thinking = Typed(dim=True) if show and sys.stdout.isatty() else None
        try:
            job = show_answer(
                self.client, job_id, self.conversation.model, text=text, thinking=thinking, silent=self.silent
            )
        except (KeyboardInterrupt, SystemExit):
            self._stop(job_id, prompt, images, text)
            raise
        if job.state is State.DONE:
            self.conversation.add(prompt, images, job.text)
        else:
            say_failed(job)
        if self.verbose:
            show_figures(job)
        return job

    def _stop(self, job_id: str, prompt: str, images: Sequence[bytes], text: Typed | None) -> None:
        with suppress(ClientError):
            self.client.cancel(job_id)
        if text and text.text:
            text.end_line()
            self.conversation.add(prompt, images, text.text)

    def take_images(self, prompt: str) -> str:
        """Return the prompt without the paths of images; the next question has them. Raise OSError."""
        rest, paths = take_images(prompt)
        if not paths:
            return prompt
        names = ", ".join(path.name for path in paths)
        try:
            sees = "vision" in self.describe().capabilities
        except NotFound:
            raise
        except ClientError:
            sees = False
        if not sees:
            model = self.conversation.model
            self.note(f"{names} is sent as words: {model} is not known to see images, but /image shows it them")
            return prompt
        self.add_images(paths)
        return rest

    def add_images(self, paths: Sequence[Path]) -> None:
        """Show these files to the model with the next question. Raise OSError."""
        self.images += [path.read_bytes() for path in paths]
        self.note(f"with {', '.join(path.name for path in paths)}")

    def note(self, said: str) -> None:
        """Print a remark on standard error."""
        if not self.silent:
            click.secho(one_line(said), dim=True, err=True)
