"""Operations on many jobs, one after the other: their ends, all pages, each stored once; no I/O."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from foreman.client import operations, requests
from foreman.client.errors import AnswerTooLarge, Busy, ConnectFailed, NotForeman
from foreman.client.feed_parser import FeedParser
from foreman.client.operations import FIRST, Clock, Emit, Emitting, Open, Pause, Read, ask
from foreman.client.reading import TooMuch
from foreman.client.reconnect import Reconnect
from foreman.client.types import Job
from foreman.client.writing import encode
from foreman.domain.job import TERMINAL
from foreman.domain.views import Accepted

PAGE = 500  # jobs; the most that Foreman lists at once
ENDS = {"state": sorted(TERMINAL)}


def as_completed(url: str, job_ids: Iterable[str], retry_for: float, clock: Clock = time.monotonic) -> Emitting[Job]:
    """Emit each job once it has ended, in the order of the feed; after a break, look at all that are left.

    Those that have ended already come first, in the order in which they did. Raise NotFound for a job that is gone.
    """
    left, reconnect = dict.fromkeys(job_ids), Reconnect(retry_for)
    while left:
        parser, looked = FeedParser(None), False
        try:
            yield Open(requests.feed(None, ENDS))
            reconnect.connected(clock())
            reading = FIRST
            while left and (data := (yield reading)):
                try:
                    events = parser.feed(data)
                except TooMuch as error:
                    raise AnswerTooLarge(url, str(error)) from None
                except msgspec.DecodeError:
                    raise NotForeman(url, "/events sent an unknown message") from None
                if parser.after is not None and not looked:  # whatever ends from here on is told
                    looked = True
                    yield from _ended(list(left), left)
                for event in events:
                    if event.job_id in left:
                        yield from _ended([event.job_id], left)
                reading = Read(parser.heard, told=bool(events))
            pause = reconnect.ended()
        except (ConnectFailed, Busy):
            again = reconnect.broke(clock())
            if again is None:
                raise
            pause = again
        if left:
            yield Pause(pause)


def each(wanted: Mapping[str, Any]) -> Emitting[Job]:
    """Emit the jobs of all pages of a list."""
    after: str | None = None
    while True:
        page = yield from ask(requests.jobs(**{**wanted, "limit": PAGE, "after": after}))
        for job in page.jobs:
            yield Emit(job)
        if page.next is None or page.next == after:
            return
        after = page.next


def submit_once(payloads: Iterable[Mapping[str, Any]], retry_for: float) -> Emitting[Accepted]:
    """Store jobs under keys made of their `custom_id`, or else of their content; emit each answer."""
    for payload in payloads:
        yield Emit((yield from operations.submit(payload, key_of(payload), retry_for)))


def key_of(payload: Mapping[str, Any]) -> str:
    """Return the idempotency key of a payload: the same for the same `custom_id`, or else for the same content."""
    named = payload.get("custom_id")
    told = encode(dict(sorted(payload.items()))) if named is None else str(named).encode(errors="surrogatepass")
    return f"{'content' if named is None else 'custom_id'}-{hashlib.sha256(told).hexdigest()}"


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
