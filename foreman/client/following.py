"""Operations that follow the feed: all its events, and the ends of given jobs; no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from foreman.client import requests
from foreman.client.errors import Busy, ConnectFailed
from foreman.client.feed_parser import FeedParser
from foreman.client.operations import FIRST, Clock, Emit, Emitting, Open, Pause, Read, ask
from foreman.client.reconnect import Reconnect
from foreman.client.types import Job
from foreman.client.unreadable import told_unreadable
from foreman.domain.job import TERMINAL
from foreman.domain.views import Event

T = TypeVar("T")

ENDS = {"state": sorted(TERMINAL)}


def feed(
    url: str,
    after: int | None,
    filters: Mapping[str, Sequence[str]],
    retry_for: float,
    clock: Clock = time.monotonic,
) -> Emitting[Event]:
    """Emit the events of all jobs, or of those that match the filters; reconnect and resume after a break."""

    def take(events: Iterable[Event]) -> Emitting[Event]:
        for event in events:
            yield Emit(event)

    return _follow(url, FeedParser(after), filters, retry_for, clock, take)


def as_completed(url: str, job_ids: Iterable[str], retry_for: float, clock: Clock = time.monotonic) -> Emitting[Job]:
    """Emit each job once it has ended, in the order of the feed; after a break, look at all that are left.

    Those that have ended already come first, in the order in which they did. Raise NotFound for a job that is gone.
    """
    left, parser, looked = dict.fromkeys(job_ids), FeedParser(None), 0

    def take(events: Iterable[Event]) -> Emitting[Job]:
        nonlocal looked
        if looked < parser.greeted:  # whatever ends from here on is told
            yield from _ended(list(left), left)
            looked = parser.greeted
        for event in events:
            if event.job_id in left:
                yield from _ended([event.job_id], left)

    return _follow(url, parser, ENDS, retry_for, clock, take, lambda: bool(left))


def _follow(
    url: str,
    parser: FeedParser,
    filters: Mapping[str, Sequence[str]],
    retry_for: float,
    clock: Clock,
    take: Callable[[Iterable[Event]], Emitting[T]],
    goes_on: Callable[[], bool] = lambda: True,
) -> Emitting[T]:
    """Give what the feed says to `take`, the greeting as no events, while it `goes_on`; reconnect after a break."""
    reconnect = Reconnect(retry_for)
    while goes_on():
        parser.begin()
        try:
            yield Open(requests.feed(parser.after, filters))
            reconnect.connected(clock())
            reading = FIRST
            while goes_on() and (data := (yield reading)):
                with told_unreadable(url, "/events"):
                    events = parser.feed(data)
                yield from take(events)
                reading = Read(parser.heard, told=bool(events))
            pause = reconnect.ended()
        except (ConnectFailed, Busy):
            again = reconnect.broke(clock())
            if again is None:
                raise
            pause = again
        if goes_on():
            yield Pause(pause)


def _ended(wanted: Iterable[str], left: dict[str, None]) -> Emitting[Job]:
    """Look at jobs and emit those that have ended, the first to end first; they are left no longer."""
    found = []
    for job_id in wanted:
        job = yield from ask(requests.job(job_id))
        if job.ended:
            found.append(job)
    for job in sorted(found, key=lambda job: str(job.completed_at)):
        del left[job.job_id]
        yield Emit(job)
