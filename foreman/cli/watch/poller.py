"""Threads that read the feed, the queue and job outputs of a Foreman, across its restarts."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from foreman.cli.watch.prompts import last_question
from foreman.cli.watch.screen import Look
from foreman.cli.watch.state import Away, Detail, Listed, OutputText, Said, Snapshot
from foreman.client import (
    Chunk,
    Client,
    ClientError,
    Event,
    NotFound,
    Refused,
    StartsOver,
    Unauthorized,
    requests,
)
from foreman.client.reading import decode

POLL = 1.0  # seconds between polls of the queue while nothing happens
LEAST = 0.25  # seconds; the least time between polls
PAUSE = 1.0  # seconds after an error
SHOWN = 60  # waiting jobs; more than fit on a terminal
FOLLOWED = 8  # jobs whose output is read at once
LISTED = 200  # newest jobs, or batches

# The events after the cursor are removed, or the database is another one: the feed goes on from now.
LOST_CURSOR = {"cursor_gone", "query_invalid"}

News: TypeAlias = Snapshot | Event | OutputText | Away | Listed | Detail | Said | Unauthorized


class Poller:
    """Poller that passes all news to `emit`, from daemon threads."""

    def __init__(self, client: Client, emit: Callable[[News], None]) -> None:
        self._client = client
        self._emit = emit
        self._poll_now = threading.Event()  # set by events: poll the queue
        self._followed: set[str] = set()
        self._look = Look()
        self._prompt = "", ""  # of the opened job: its id and the question
        self._newest = 0  # `seq` of the last event

    def snapshot(self) -> Snapshot:
        """Return the state of the Foreman now. Raise a ClientError."""
        since, queue = self._newest, self._client.queue()
        return Snapshot(queue, self._client.waiting(limit=SHOWN), self._client.health(), since)

    def start(self) -> None:
        """Start the threads."""
        for work in (self._read_feed, self._poll):
            threading.Thread(target=work, daemon=True).start()

    def look_at(self, look: Look) -> None:
        """Read what this look needs, from now on."""
        if look != self._look:
            self._look = look
            self._poll_now.set()

    def look_again(self) -> None:
        """Read it now: something was changed."""
        self._poll_now.set()

    def follow(self, job_ids: Iterable[str]) -> None:
        """Read the output of these jobs too, up to FOLLOWED at once."""
        for job_id in job_ids:
            if job_id not in self._followed and len(self._followed) < FOLLOWED:
                self._followed.add(job_id)
                threading.Thread(target=self._read_text, args=(job_id,), daemon=True).start()

    def _read_feed(self) -> None:
        after: int | None = None
        while True:
            try:
                for event in self._client.feed(after=after, retry_for=math.inf):
                    self._emit(event)
                    after = self._newest = event.seq
                    self._poll_now.set()
            except Unauthorized as error:
                self._emit(error)
                return
            except ClientError as error:
                if isinstance(error, Refused) and error.code in LOST_CURSOR:
                    after = None
                self._emit(Away(error.message))
            time.sleep(PAUSE)

    def _poll(self) -> None:
        while True:
            try:
                self._emit(self.snapshot())
                self._read_look(self._look)
            except Unauthorized as error:
                self._emit(error)
                return
            except ClientError as error:
                self._emit(Away(error.message))
            time.sleep(LEAST)
            self._poll_now.wait(POLL - LEAST)
            self._poll_now.clear()

    def _read_look(self, look: Look) -> None:
        if look.opened:
            self._emit(self._detail(look.opened))
            return
        match look.view:
            case "jobs":
                wanted = {**dict(look.filters), "state": look.states, "batch_id": look.batch_id}
                ask = requests.jobs(**{name: value for name, value in wanted.items() if value}, limit=LISTED)
                self._emit(Listed(decode(self._client.raw(ask), ask.answer).jobs, about(look)))
            case "targets":
                self._emit(Listed(self._client.targets(), about(look)))
            case "batches":
                self._emit(Listed(self._client.batches(limit=LISTED).batches, about(look)))
            case "nodes":
                self._emit(Listed(self._client.nodes(), about(look)))

    def _detail(self, job_id: str) -> Detail:
        try:
            job, events = self._client.job(job_id), self._client.events(job_id)
            if self._prompt[0] != job_id:
                self._prompt = job_id, last_question(self._client.payload(job_id))
        except NotFound:
            return Detail(job_id, None)
        return Detail(job_id, job, events, self._prompt[1])

    def _read_text(self, job_id: str) -> None:
        self._emit(OutputText(job_id, "", anew=True))
        try:
            for item in self._client.stream(job_id):
                match item:
                    case Chunk():
                        self._emit(OutputText(job_id, item.text or item.thinking))
                    case StartsOver():
                        self._emit(OutputText(job_id, "", anew=True))
        except (ClientError, RuntimeError):  # the queue shows its state; or the client was closed
            pass
        finally:
            self._followed.discard(job_id)


def about(look: Look) -> str:
    """Return what a list is of, to tell it from one that was asked for before."""
    return repr((look.view, look.states, look.batch_id, look.filters))
