"""The conversations with Foreman: what is asked, how answers are read, when it is asked again; no I/O.

Each is a generator that yields what is to be done and is sent what came of it; a fault is thrown into it. Client and
AsyncClient do what is yielded, each in its own way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import uuid4

import msgspec

from foreman.client import bulk, requests
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
from foreman.client.feed import Feed
from foreman.client.limits import Allowance
from foreman.client.reading import TooMuch
from foreman.client.reconnect import PAUSES, Reconnect
from foreman.client.requests import Ask
from foreman.client.stream import Chunk, Pieces, StartsOver
from foreman.client.types import Accepted, Delivery, Event, Job, Rejected, Submitted
from foreman.domain.job import State

T = TypeVar("T")

LATE = 0.5  # seconds by which an answer may come later than a caller waits: one that was held to the end has to travel
MOST_EVENTS = 100_000  # changes of one job; some hundred attempts have a thousand
LONG_POLL = 30  # seconds that one answer may be held; proxies tend to give up after 60


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Begin an answer that is read as it comes, in place of one that is open; what comes of it is its content type."""

    ask: Ask[bytes]


@dataclass(frozen=True, slots=True)
class Read:
    """What comes of it are the next bytes of the answer that is open; none at its end.

    Say what came of those before: each line has its time, and what comes between two things told its bytes.
    """

    heard: bool = False
    told: bool = False

    def renew(self, allowance: Allowance) -> None:
        """Allow for what was read."""
        if self.heard:
            allowance.heard()
        if self.told:
            allowance.told()


FIRST = Read(heard=True, told=True)


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Something for the caller."""

    value: T


Step: TypeAlias = Ask[Any] | Pause | Open | Read
Operation: TypeAlias = Generator[Step, Any, T]
Emitting: TypeAlias = Generator[Step | Emit[T], Any, None]
Clock: TypeAlias = Callable[[], float]  # seconds


class Held(Generic[T]):
    """A conversation under way: `step` is what it wants done, None once it is over and has come to `result`."""

    step: Any
    result: T

    def __init__(self, operation: Generator[Any, Any, T]) -> None:
        self._operation = operation
        self.send(None)

    def send(self, reply: object) -> None:
        """What came of the step."""
        self._go(lambda: self._operation.send(reply))

    def throw(self, error: ClientError) -> None:
        """What kept the step from being done. Raises it, or another, where the conversation cannot bear it."""
        self._go(lambda: self._operation.throw(error))

    def _go(self, on: Callable[[], Any]) -> None:
        try:
            self.step = on()
        except StopIteration as end:
            self.step, self.result = None, end.value


def ask(request: Ask[T]) -> Operation[T]:
    """One request and its answer."""
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
    """Store a job; while there is no room for it, or no answer comes, try again for up to `patience` seconds.

    After `within` seconds nobody waits for an answer any more. Where nobody has answered yet, nobody is waited for.
    With patience, a job without a key gets one, so that it is stored once however often it is sent.
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


def submit_parts(payloads: Iterable[Mapping[str, Any] | bytes], lines: int = bulk.LINES) -> Emitting[Submitted]:
    """Store many jobs, with an answer after every request."""
    for part in bulk.parts(payloads, lines=lines):
        yield from _submit_part(part)


def wait(job_id: str, within: float | None, retry_for: float, clock: Clock = time.monotonic) -> Operation[Job]:
    """The job once it has ended: each answer is held until then, or for half a minute. Raises NotEnded."""
    trouble = Reconnect(retry_for)
    until = None if within is None else clock() + within
    while True:
        began = clock()
        left = math.inf if until is None else max(0.0, until - began)
        held = int(min(LONG_POLL, left))  # whole seconds; of the last one no answer is held
        try:
            job = yield from ask(replace(requests.job(job_id, wait=held), within=left + LATE))
        except (ConnectFailed, Busy) as error:
            if isinstance(error, AnswerTooSlow) and until is not None and clock() >= until:
                raise NotEnded(job_id, within or 0.0) from None
            if _heard(error):  # a break ends what trouble there was before, but not a silence
                trouble.connected(began if clock() - began <= held else clock())
            pause = trouble.broke(clock())
            if pause is None or (until is not None and clock() >= until):
                raise
        else:
            trouble.connected(clock())
            if job.ended:
                return job
            if until is not None and clock() >= until:
                raise NotEnded(job_id, within or 0.0)
            pause = trouble.ended()
            if clock() - began >= held > 0:
                continue
        yield Pause(pause if until is None else min(pause, max(0.0, until - clock())))


def run(
    body: Mapping[str, Any], key: str | None, within: float | None, retry_for: float, clock: Clock = time.monotonic
) -> Operation[Job]:
    """Store a job and wait for it. Raises JobFailed when it is not done in the end, NotEnded."""
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
    """The changes of a job beyond the one with the seq `after`, page by page."""
    found: list[Event] = []
    while True:
        page = yield from ask(requests.events(job_id, after))
        found += page.events
        if len(found) > MOST_EVENTS:
            raise AnswerTooLarge(url, f"more than {MOST_EVENTS:,} changes of a job")
        if page.next is None or page.next <= after:
            return found
        after = page.next


def deliveries(url: str, job_id: str) -> Operation[list[Delivery]]:
    """The webhooks of a job, page by page."""
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
    """The names of the models, also of a server that has only the native list."""
    try:
        return (yield from ask(requests.models())).names
    except (NotFound, NotForeman):
        return (yield from ask(requests.tags())).names


def ready() -> Operation[bool]:
    """Whether Foreman takes jobs now."""
    try:
        yield from ask(requests.ready())
    except (Busy, NotForeman):  # its 503 tells a state, no fault
        return False
    return True


def stream(url: str, job_id: str, retry_for: float, clock: Clock = time.monotonic) -> Emitting[Chunk | StartsOver]:
    """Tell the output of a job from its first chunk to its end; a broken connection is made anew and starts over.

    Raises JobFailed at the end of a job that ended other than done.
    """
    trouble, said = Reconnect(retry_for), False
    while True:
        try:
            pieces = Pieces((yield Open(requests.stream(job_id))))
            trouble.connected(clock())
            if said:
                said = False
                yield Emit(StartsOver((yield from ask(requests.job(job_id))).attempt))
            reading = FIRST
            while data := (yield reading):
                try:
                    found = pieces.feed(data)
                except TooMuch as error:
                    raise AnswerTooLarge(url, str(error)) from None
                except msgspec.DecodeError:
                    raise NotForeman(url, "a stream that is not JSON") from None
                for piece in found:
                    said = True
                    yield Emit(piece)
                reading = Read(pieces.heard, told=bool(found))
            job = yield from ask(requests.job(job_id))
            if job.state is State.DONE:
                return
            if job.ended:
                raise JobFailed(job)
            pause = trouble.ended()
        except (ConnectFailed, Busy):
            again = trouble.broke(clock())
            if again is None:
                raise
            pause = again
        yield Pause(pause)


def feed(
    url: str,
    after: int | None,
    filters: Mapping[str, Sequence[str]],
    retry_for: float,
    clock: Clock = time.monotonic,
) -> Emitting[Event]:
    """The changes of all jobs, or of those the filters let through; a broken connection goes on where it broke."""
    trouble, feed = Reconnect(retry_for), Feed(after)
    while True:
        feed.begin()
        try:
            yield Open(requests.feed(feed.after, filters))
            trouble.connected(clock())
            reading = FIRST
            while data := (yield reading):
                try:
                    events = feed.feed(data)
                except TooMuch as error:
                    raise AnswerTooLarge(url, str(error)) from None
                except msgspec.DecodeError:
                    raise NotForeman(url, "/events tells of something else") from None
                for event in events:
                    yield Emit(event)
                reading = Read(feed.heard, told=bool(events))
            pause = trouble.ended()
        except (ConnectFailed, Busy):
            again = trouble.broke(clock())
            if again is None:
                raise
            pause = again
        yield Pause(pause)


def _heard(error: ClientError) -> bool:
    """Whether somebody was there."""
    return not (isinstance(error, ConnectFailed) and error.nobody)


def _submit_part(part: bulk.Part) -> Emitting[Submitted]:
    try:
        answer = yield from ask(requests.submit_many(part.body))
    except Refused as error:
        if error.code != bulk.TOO_LARGE:
            raise
        answer = Submitted(0, 1, [], [Rejected(1, error.message, error.code, error.hint)])
    if bulk.too_large(answer) and len(part.lines) > 1:  # this Foreman takes less than most
        for half in part.halves():
            yield from _submit_part(half)
    else:
        yield Emit(part.numbered(answer))
