"""Follow a job: its events and output, in order, until its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import TypeAlias

from foreman.cli.plain import this_program
from foreman.client import Chunk, Client, ClientError, Event, Job, JobFailed, StartsOver
from foreman.client.errors import Busy, ConnectFailed
from foreman.domain.job import TERMINAL, State

STILL = ("paused", "target", "time")  # reasons for which a job waits that no other job has a part in
NEXT = (*STILL, "turn", "rests", "quota")  # those that are of use to who waits for the next job
POLLS = (0.05, 1.0)  # seconds between polls of the events: after news, at most


@dataclass(frozen=True, slots=True)
class Waiting:
    """The position of the job in the queue, 1 is next and 0 none, and why it stands still there."""

    position: int
    eta_seconds: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """Foreman cannot be reached at the moment; the client keeps trying."""


UNREAD = 1000  # items of a stream that may wait to be shown; a faster sender has to wait

_Box: TypeAlias = "Queue[Chunk | StartsOver | ClientError | None]"


def follow(client: Client, job_id: str) -> Iterator[Event | Waiting | Away | Chunk | StartsOver | Job]:
    """Yield each event exactly once and the output as it comes; the ended job comes last.

    The final event follows the last chunk. Raise the client's error once it stops trying.
    """
    box: _Box = Queue(UNREAD)
    threading.Thread(target=_read_stream, args=(client, job_id, box), daemon=True).start()
    poller, streaming = _EventPoller(client, job_id), False
    for item in _items(box, poller.pause):
        if not (streaming and isinstance(item, Chunk)):  # between chunks its state cannot change
            yield from poller.news(waiting=item is None)
        if item is not None:
            streaming = isinstance(item, Chunk)
            yield item
    yield from poller.rest()
    yield client.job(job_id)


def output(client: Client, job_id: str, *, silence: float) -> Iterator[Chunk | StartsOver | None]:
    """Yield the output of a job from its first chunk, and None for every `silence` seconds without any.

    Raise the client's error once it stops trying.
    """
    box: _Box = Queue(UNREAD)
    threading.Thread(target=_read_stream, args=(client, job_id, box), daemon=True).start()
    yield from _items(box, lambda: silence)


class _EventPoller:
    """Poller of a job's events that yields each once."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._after = 0  # the newest `seq` that was yielded
        self._state = State.QUEUED
        self._position: tuple[int, str] | None = None
        self._news_at = time.monotonic()

    def pause(self) -> float:
        """Return the seconds until the next poll; they grow while nothing happens."""
        return min(POLLS[1], POLLS[0] * (1 + time.monotonic() - self._news_at))

    def news(self, *, waiting: bool) -> Iterator[Event | Waiting | Away]:
        """Yield new events except a final one, and the position of a waiting job when it changes."""
        try:
            events = [event for event in self._unknown() if event.state not in TERMINAL]
            job = self._client.job(self._job_id) if waiting and not events and self._state is State.QUEUED else None
            why = self._why(job) if job else ""
        except (ConnectFailed, Busy):
            yield Away()  # the stream decides when to give up
            return
        yield from self._yield(events)
        place = job.queue_position or 0 if job else 0
        if job and (place or why) and (place, why) != self._position:
            self._position = place, why
            yield Waiting(place, job.eta_seconds, why)

    def _why(self, job: Job) -> str:
        """Return why no job like this one moves, or why the next one does not; empty when it waits for others."""
        if job.why is None or job.why.reason not in (NEXT if job.queue_position == 1 else STILL):
            return ""
        if job.why.reason not in ("paused", "target"):
            return job.why.text
        if job.why.reason == "paused":
            return f"{job.why.text}, '{this_program()} resume' lets it go on"
        errors = (one.error for one in self._client.targets() if one.error and job.model in one.models)
        return next(errors, job.why.text)

    def rest(self) -> Iterator[Event]:
        yield from self._yield(self._unknown())

    def _unknown(self) -> list[Event]:
        return self._client.events(self._job_id, after=self._after)

    def _yield(self, events: list[Event]) -> Iterator[Event]:
        for event in events:
            self._after, self._state, self._position = event.seq, event.state, None
            self._news_at = time.monotonic()
            yield event


def _items(box: _Box, pause: Callable[[], float]) -> Iterator[Chunk | StartsOver | None]:
    """Yield the items of the stream, and None after each pause without one."""
    while True:
        try:
            item = box.get(timeout=pause())
        except Empty:
            yield None
            continue
        if isinstance(item, ClientError):
            raise item
        if item is None:
            return
        yield item


def _read_stream(client: Client, job_id: str, box: _Box) -> None:
    try:
        for item in client.stream(job_id):
            box.put(item)
        box.put(None)
    except JobFailed:  # `follow` yields the ended job last
        box.put(None)
    except ClientError as error:
        box.put(error)
    except RuntimeError:  # the client was closed
        return
