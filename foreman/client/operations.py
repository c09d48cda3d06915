"""Operations on a Foreman: the requests, their answers and retries, without I/O.

Each operation is a generator: it yields a step, is sent the reply, and errors are thrown into it. Client and
AsyncClient perform the steps, each with its own kind of I/O.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import uuid4

from foreman.client import requests, splitting
from foreman.client.errors import (
    AnswerTooLarge,
    AnswerTooSlow,
    Busy,
    ClientError,
    ConnectFailed,
    JobFailed,
    NotEnded,
    NotForeman,
    NotFound,
    Refused,
)
from foreman.client.limits import Allowance
from foreman.client.output_parser import Chunk, OutputParser, StartsOver
from foreman.client.reconnect import PAUSES, Reconnect
from foreman.client.requests import Ask
from foreman.client.types import Job, Submitted
from foreman.client.unreadable import told_unreadable
from foreman.domain.job import State
from foreman.domain.views import Accepted, Delivery, Event, Rejected

T = TypeVar("T")

LATE = 0.5  # seconds added to the deadline: an answer held until then still has to travel
MOST_EVENTS = 100_000  # of one job; some hundred attempts make a thousand
LONG_POLL = 30  # seconds to hold one answer; proxies tend to give up after 60


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Open a streamed answer in place of the open one; the reply is its content type."""

    ask: Ask[bytes]


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next bytes of the open answer; the reply is empty at its end.

    `heard` and `told` say that the bytes before ended a line or an item: the limits of time and size start anew.
    """

    heard: bool = False
    told: bool = False

    def renew(self, allowance: Allowance) -> None:
        """Restart the limits for lines and items already read."""
        if self.heard:
            allowance.heard()
        if self.told:
            allowance.told()


FIRST = Read(heard=True, told=True)


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Give a value to the caller."""

    value: T


Step: TypeAlias = Ask[Any] | Pause | Open | Read
Operation: TypeAlias = Generator[Step, Any, T]
Emitting: TypeAlias = Generator[Step | Emit[T], Any, None]
Clock: TypeAlias = Callable[[], float]  # seconds


class Held(Generic[T]):
    """A running operation: `step` is its next step, None once it has ended with `result`."""

    step: Any
    result: T

    def __init__(self, operation: Generator[Any, Any, T]) -> None:
        self._operation = operation
        self.send(None)

    def send(self, reply: object) -> None:
        """Resume the operation with the reply to its step."""
        self._go(lambda: self._operation.send(reply))

    def throw(self, error: ClientError) -> None:
        """Resume the operation with the error of its step. Raise the error that the operation does not handle."""
        self._go(lambda: self._operation.throw(error))

    def _go(self, resume: Callable[[], Any]) -> None:
        try:
            self.step = resume()
        except StopIteration as end:
            self.step, self.result = None, end.value


def ask(request: Ask[T]) -> Operation[T]:
    """Send one request and return its answer."""
    answer: T = yield request
    return answer


def submit(
    body: Mapping[str, Any],
    key: str | None,
    retry_for: float,
    clock: Clock = time.monotonic,
    *,
    within: float = math.inf,
) -> Operation[Accepted]:
    """Store a job; while Foreman is full or silent, try again for up to `retry_for` seconds.

    Give up after `within` seconds. Raise at once when the first connection fails. With `retry_for`, a job without an
    idempotency key gets one, so that it is stored once however often it is sent.
    """
    key = key or (uuid4().hex if retry_for else None)
    began, pause, heard = clock(), PAUSES[0], False
    until = began + min(retry_for, within)
    request = requests.submit(body, key)
    while True:
        try:
            return (yield from ask(replace(request, within=began + within + LATE - clock())))
        except (Busy, ConnectFailed) as error:
            left, heard = until - clock(), heard or _heard(error)
            if left <= 0 or not heard:
                raise
            wanted = error.retry_after if isinstance(error, Busy) else pause
        yield Pause(min(wanted, left))
        pause = min(pause * 2, PAUSES[1])


def submit_parts(payloads: Iterable[Mapping[str, Any] | bytes], lines: int = splitting.LINES) -> Emitting[Submitted]:
    """Store many jobs and emit an answer after every request."""
    for part in splitting.parts(payloads, lines=lines):
        yield from _submit_part(part)


def wait(job_id: str, within: float | None, retry_for: float, clock: Clock = time.monotonic) -> Operation[Job]:
    """Return the job once it has ended, by long polling. Raise NotEnded after `within` seconds."""
    reconnect = Reconnect(retry_for)
    until = None if within is None else clock() + within
    while True:
        began = clock()
        left = math.inf if until is None else max(0.0, until - began)
        held = int(min(LONG_POLL, left))  # whole seconds; 0 in the last one: a plain request
        try:
            job = yield from ask(replace(requests.job(job_id, wait=held), within=left + LATE))
        except (ConnectFailed, Busy) as error:
            if isinstance(error, AnswerTooSlow) and until is not None and clock() >= until:
                raise NotEnded(job_id, within or 0.0) from None
            if _heard(error):  # a broken connection ends the earlier outage, a failed connect does not
                reconnect.connected(began if clock() - began <= held else clock())
            pause = reconnect.broke(clock())
            if pause is None or (until is not None and clock() >= until):
                raise
        else:
            reconnect.connected(clock())
            if job.ended:
                return job
            if until is not None and clock() >= until:
                raise NotEnded(job_id, within or 0.0)
            pause = reconnect.ended()
            if clock() - began >= held > 0:
                continue
        yield Pause(pause if until is None else min(pause, max(0.0, until - clock())))


def run(
    body: Mapping[str, Any], key: str | None, within: float | None, retry_for: float, clock: Clock = time.monotonic
) -> Operation[Job]:
    """Store a job and wait for its end. Raise JobFailed for any end but done, NotEnded after `within` seconds."""
    until = None if within is None else clock() + within
    accepted = yield from submit(body, key, retry_for, clock, within=math.inf if within is None else within)
    try:
        left = None if until is None else max(0.0, until - clock())
        job = yield from wait(accepted.job_id, left, retry_for, clock)
    except NotEnded:
        raise NotEnded(accepted.job_id, within or 0.0) from None
    if job.state is not State.DONE:
        raise JobFailed(job)
    return job


def events(url: str, job_id: str, after: int) -> Operation[list[Event]]:
    """Return the events of a job after the seq `after`, fetched page by page."""
    found: list[Event] = []
    while True:
        page = yield from ask(requests.events(job_id, after))
        found += page.events
        if len(found) > MOST_EVENTS:
            raise AnswerTooLarge(url, f"more than {MOST_EVENTS:,} events of a job")
        if page.next is None or page.next <= after:
            return found
        after = page.next


def deliveries(url: str, job_id: str) -> Operation[list[Delivery]]:
    """Return the webhook deliveries of a job, fetched page by page."""
    found: list[Delivery] = []
    after = 0
    while True:
        page = yield from ask(requests.deliveries(job_id, after))
        found += page.deliveries
        if len(found) > MOST_EVENTS:
            raise AnswerTooLarge(url, f"more than {MOST_EVENTS:,} deliveries of a job")
        if page.next is None or page.next <= after:
            return found
        after = page.next


def models() -> Operation[list[str]]:
    """Return the names of the models, from /v1/models or else /api/tags."""
    try:
        return [model.id for model in (yield from ask(requests.models())).data]
    except (NotFound, NotForeman):
        return (yield from ask(requests.tags())).names


def ready() -> Operation[bool]:
    """Return True if Foreman accepts jobs now."""
    try:
        yield from ask(requests.ready())
    except (Busy, NotForeman):  # a 503 here is a state, not an error
        return False
    return True


def stream(url: str, job_id: str, retry_for: float, clock: Clock = time.monotonic) -> Emitting[Chunk | StartsOver]:
    """Emit the output of a job from its first chunk to its end; reconnect and start over after a break.

    Raise JobFailed at the end of a job that ended other than done.
    """
    reconnect, said = Reconnect(retry_for), False
    while True:
        try:
            parser = OutputParser((yield Open(requests.stream(job_id))))
            reconnect.connected(clock())
            if said:
                said = False
                yield Emit(StartsOver((yield from ask(requests.job(job_id))).attempt))
            reading = FIRST
            while data := (yield reading):
                with told_unreadable(url, "the stream"):
                    found = parser.feed(data)
                for item in found:
                    said = True
                    yield Emit(item)
                reading = Read(parser.heard, told=bool(found))
            job = yield from ask(requests.job(job_id))
            if job.state is State.DONE:
                return
            if job.ended:
                raise JobFailed(job)
            pause = reconnect.ended()
        except (ConnectFailed, Busy):
            again = reconnect.broke(clock())
            if again is None:
                raise
            pause = again
        yield Pause(pause)


def _heard(error: ClientError) -> bool:
    """Return True if a connection was made."""
    return not (isinstance(error, ConnectFailed) and error.nobody)


def _submit_part(part: splitting.Part) -> Emitting[Submitted]:
    try:
        answer = yield from ask(requests.submit_many(part.body))
    except Refused as error:
        if error.code != splitting.TOO_LARGE:
            raise
        answer = Submitted(0, 1, [], [Rejected(1, error.message, error.code, error.hint)])
    if splitting.too_large(answer) and len(part.lines) > 1:  # this Foreman accepts less than the default
        for half in part.halves():
            yield from _submit_part(half)
    else:
        yield Emit(part.numbered(answer))
