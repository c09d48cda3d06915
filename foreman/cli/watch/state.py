"""What is known of a Foreman at this moment, put together from what comes in; no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from foreman.client import Event, Health, Job, Queue, Running
from foreman.domain.job import RUNNING, TERMINAL, State

KEPT_EVENTS = 200
KEPT_JOBS = 64  # whose words are kept
KEPT_RUNNING = 1000  # jobs; no Foreman has as many slots
KEPT_DONE = 100_000  # ends of jobs within the last minute
KEPT_WORDS = 4000  # characters of a job's text; no screen shows more
WINDOW = timedelta(minutes=1)  # of the throughput


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How it stands, as Foreman itself tells."""

    queue: Queue
    waiting: Sequence[Job]  # in the order in which they would run
    health: Health
    since: int = 0  # the newest event that was told before it was asked for


@dataclass(frozen=True, slots=True)
class Words:
    """More of a running job's text; `anew` when what came before is void."""

    job_id: str
    text: str
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Away:
    """Foreman cannot be reached just now."""

    why: str


@dataclass(slots=True)
class WatchState:
    """Everything that is shown."""

    url: str
    queue: Queue = field(default_factory=lambda: Queue(0))
    waiting: Sequence[Job] = ()
    trouble: str | None = None  # with the target
    away: str | None = None  # why Foreman cannot be reached
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))  # newest last
    words: dict[str, str] = field(default_factory=dict)  # by job
    _done: deque[datetime] = field(default_factory=lambda: deque(maxlen=KEPT_DONE))

    def take(self, news: Snapshot | Event | Words | Away) -> None:
        match news:
            case Snapshot():
                self.away = None
                self.queue, self.waiting = news.queue, news.waiting
                for event in self.events:
                    if event.seq > news.since:  # it may or may not know of this one: to play it again does no harm
                        self._move(event)
                self.trouble = (news.health.target_error or "it is away") if news.queue.degraded else None
            case Words():
                before = "" if news.anew else self.words.get(news.job_id, "")
                self.words[news.job_id] = (before + news.text)[-KEPT_WORDS:]
                while len(self.words) > KEPT_JOBS:  # whose end was not told
                    del self.words[next(iter(self.words))]
            case Away():
                self.away = news.why
            case Event():
                self._event(news)

    def remember(self, jobs: Iterable[Job]) -> None:
        """Fill the events with how these jobs ended, so that the first picture is not empty."""
        ended = [job for job in jobs if job.ended and job.completed_at]
        for job in sorted(ended, key=lambda job: job.completed_at or job.created_at):
            at = job.completed_at or job.created_at
            self._event(Event(0, job.job_id, job.state, at, model=job.model, attempt=job.attempt, error=job.error))

    def per_minute(self, now: datetime) -> int:
        """Jobs that were done within the last minute."""
        while self._done and self._done[0] < now - WINDOW:
            self._done.popleft()
        return len(self._done)

    def _event(self, event: Event) -> None:
        """A change is shown at once; the next snapshot puts right what it does not tell."""
        self.away = None
        self.events.append(event)
        if event.state is State.DONE:
            self._done.append(event.timestamp)
        if event.state in TERMINAL:
            self.words.pop(event.job_id, None)
        self._move(event)

    def _move(self, event: Event) -> None:
        """Put the job where it is now."""
        running = {job.job_id: job for job in self.queue.running}
        if event.state in RUNNING:
            began = running[event.job_id].started_at if event.job_id in running else event.timestamp
            running[event.job_id] = Running(event.job_id, event.model, event.state, event.attempt, began)
            if len(running) > KEPT_RUNNING:  # whose end was not told
                del running[next(iter(running))]
            self.waiting = [job for job in self.waiting if job.job_id != event.job_id]
        else:
            running.pop(event.job_id, None)
        if event.state in TERMINAL:
            self.waiting = [job for job in self.waiting if job.job_id != event.job_id]
        self.queue = replace(self.queue, running=list(running.values()))
