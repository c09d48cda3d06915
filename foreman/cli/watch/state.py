"""The state of a Foreman as shown, updated from snapshots, events and output; no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from foreman.client import Batched, Event, Health, Job, Node, Queue, Running, Target
from foreman.domain.job import RUNNING, TERMINAL, State

KEPT_EVENTS = 200
KEPT_JOBS = 64  # whose text is kept
KEPT_RUNNING = 1000  # jobs; no Foreman has as many slots
KEPT_DONE = 100_000  # done jobs within the last minute
KEPT_TEXT = 4000  # characters of a job's text; more than a screen shows
WINDOW = timedelta(minutes=1)  # of the throughput


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state as Foreman reports it."""

    queue: Queue
    waiting: Sequence[Job]  # in the order in which they would start
    health: Health
    since: int = 0  # `seq` of the newest event before the request


@dataclass(frozen=True, slots=True)
class OutputText:
    """More text of a running job; `anew` replaces the text so far."""

    job_id: str
    text: str
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Away:
    """Foreman cannot be reached at the moment."""

    why: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that the screen has asked for."""

    items: Sequence[Job] | Sequence[Target] | Sequence[Batched] | Sequence[Node]
    about: str  # the view that shows it, with its states and batch


@dataclass(frozen=True, slots=True)
class Detail:
    """A job in detail; `job` is None once it is gone."""

    job_id: str
    job: Job | None
    events: Sequence[Event] = ()
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """The outcome of an action, in words."""

    text: str
    failed: bool = False


@dataclass(slots=True)
class WatchState:
    """All that the screen shows."""

    url: str
    queue: Queue = field(default_factory=lambda: Queue(0))
    waiting: Sequence[Job] = ()
    target_error: str | None = None
    away: str | None = None  # why Foreman cannot be reached
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))  # newest last
    text: dict[str, str] = field(default_factory=dict)  # by job id
    listed: Listed | None = None
    detail: Detail | None = None
    _done: deque[datetime] = field(default_factory=lambda: deque(maxlen=KEPT_DONE))

    def take(self, news: Snapshot | Event | OutputText | Away | Listed | Detail) -> None:
        """Apply news."""
        match news:
            case Snapshot():
                self.away = None
                self.queue, self.waiting = news.queue, news.waiting
                for event in self.events:
                    if event.seq > news.since:  # the snapshot may lack it; applying it twice does no harm
                        self._move(event)
                self.target_error = (news.health.target_error or "it is away") if news.queue.degraded else None
            case OutputText():
                before = "" if news.anew else self.text.get(news.job_id, "")
                self.text[news.job_id] = (before + news.text)[-KEPT_TEXT:]
                while len(self.text) > KEPT_JOBS:  # its final event was missed
                    del self.text[next(iter(self.text))]
            case Away():
                self.away = news.why
            case Listed():
                self.listed = news
            case Detail():
                self.detail = news
            case Event():
                self._event(news)

    def remember(self, jobs: Iterable[Job]) -> None:
        """Add the final events of these jobs, so that the first frame is not empty."""
        ended = [job for job in jobs if job.ended and job.completed_at]
        for job in sorted(ended, key=lambda job: job.completed_at or job.created_at):
            at = job.completed_at or job.created_at
            self._event(
                Event(
                    seq=0,
                    job_id=job.job_id,
                    state=job.state,
                    timestamp=at,
                    model=job.model,
                    attempt=job.attempt,
                    error=job.error,
                )
            )

    def per_minute(self, now: datetime) -> int:
        """Return the number of jobs done within the last minute."""
        while self._done and self._done[0] < now - WINDOW:
            self._done.popleft()
        return len(self._done)

    def _event(self, event: Event) -> None:
        """Apply an event at once; the next snapshot corrects the rest."""
        self.away = None
        self.events.append(event)
        if event.state is State.DONE:
            self._done.append(event.timestamp)
        if event.state in TERMINAL:
            self.text.pop(event.job_id, None)
        self._move(event)

    def _move(self, event: Event) -> None:
        """Move the job between waiting and running by its new state."""
        running = {job.job_id: job for job in self.queue.running}
        if event.state in RUNNING:
            began = running[event.job_id].started_at if event.job_id in running else event.timestamp
            running[event.job_id] = Running(
                job_id=event.job_id,
                model=event.model,
                state=event.state,
                attempt=event.attempt,
                target=event.target,
                started_at=began,
            )
            if len(running) > KEPT_RUNNING:  # its final event was missed
                del running[next(iter(running))]
            self.waiting = [job for job in self.waiting if job.job_id != event.job_id]
        else:
            running.pop(event.job_id, None)
        if event.state in TERMINAL:
            self.waiting = [job for job in self.waiting if job.job_id != event.job_id]
        self.queue = replace(self.queue, running=list(running.values()))
