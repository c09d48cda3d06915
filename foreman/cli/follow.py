"""Everything that happens to a job, in the order in which it happened, until its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import TypeAlias

from foreman.cli.screen import this_program
from foreman.client import Chunk, Client, ClientError, Event, Job, JobFailed, StartsOver
from foreman.client.errors import Busy, ConnectFailed
from foreman.domain.job import TERMINAL, State

LOOKS = (0.05, 1.0)  # seconds between looks at the events: while there is news, at most


@dataclass(frozen=True, slots=True)
class Waiting:
    """The job's place in the queue, and why nothing moves there; told when it changes. 1 is next."""

    position: int
    eta_seconds: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """Foreman cannot be reached just now; the client keeps trying."""


UNREAD = 1000  # pieces of a stream that may wait to be told: who sends faster than is shown has to wait

_Box: TypeAlias = "Queue[Chunk | StartsOver | ClientError | None]"


def follow(client: Client, job_id: str) -> Iterator[Event | Waiting | Away | Chunk | StartsOver | Job]:
    """Tell each change of state exactly once and the output as it comes; the finished job is the last word.

    The change that ends the job is told after the last chunk. Raises what the client raises once its patience is over.
    """
    box: _Box = Queue(UNREAD)
    threading.Thread(target=_read_stream, args=(client, job_id, box), daemon=True).start()
    look, talking = _Look(client, job_id), False
    for piece in _pieces(box, look.pause):
        if not (talking and isinstance(piece, Chunk)):  # while it talks, its state is known
            yield from look.news(waiting=piece is None)
        if piece is not None:
            talking = isinstance(piece, Chunk)
            yield piece
    yield from look.rest()
    yield client.job(job_id)


class _Look:
    """What was told of a job's states, and what is new."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._told = 0  # the newest `seq`
        self._state = State.QUEUED
        self._place: tuple[int, str] | None = None
        self._news_at = time.monotonic()

    def pause(self) -> float:
        """Seconds until the next look: longer, the longer nothing has happened."""
        return min(LOOKS[1], LOOKS[0] * (1 + time.monotonic() - self._news_at))

    def news(self, *, waiting: bool) -> Iterator[Event | Waiting | Away]:
        """Changes but the last, which `rest` tells; while it waits for its turn, also its place."""
        try:
            events = [event for event in self._unknown() if event.state not in TERMINAL]
            job = self._client.job(self._job_id) if waiting and not events and self._state is State.QUEUED else None
            why = self._why() if job and job.queue_position else ""
        except (ConnectFailed, Busy):
            yield Away()  # the stream decides when to give up
            return
        yield from self._tell(events)
        if job and job.queue_position and (job.queue_position, why) != self._place:
            self._place = job.queue_position, why
            yield Waiting(job.queue_position, job.eta_seconds, why)

    def _why(self) -> str:
        queue = self._client.queue()
        if queue.paused:
            return f"the queue is paused, '{this_program()} resume' lets it go on"
        return (self._client.health().target_error or "the target is away") if queue.degraded else ""

    def rest(self) -> Iterator[Event]:
        yield from self._tell(self._unknown())

    def _unknown(self) -> list[Event]:
        return self._client.events(self._job_id, after=self._told)

    def _tell(self, events: list[Event]) -> Iterator[Event]:
        for event in events:
            self._told, self._state, self._place = event.seq, event.state, None
            self._news_at = time.monotonic()
            yield event


def _pieces(box: _Box, pause: Callable[[], float]) -> Iterator[Chunk | StartsOver | None]:
    """What the stream says, and None whenever it has said nothing for a while."""
    while True:
        try:
            piece = box.get(timeout=pause())
        except Empty:
            yield None
            continue
        if isinstance(piece, ClientError):
            raise piece
        if piece is None:
            return
        yield piece


def _read_stream(client: Client, job_id: str, box: _Box) -> None:
    try:
        for piece in client.stream(job_id):
            box.put(piece)
        box.put(None)
    except JobFailed:  # how it ended is told last, with the job
        box.put(None)
    except ClientError as error:
        box.put(error)
    except RuntimeError:  # the client was closed: nobody listens any more
        return
