"""The events of a stored response, for a reader that may come back for the rest of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import msgspec
import trio
from quart import Response, request

from foreman.actors.output import OutputLog
from foreman.budget import Lease
from foreman.domain import sse
from foreman.domain.answers.failures import ODD
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import ForemanError, TargetGarbled
from foreman.domain.fields import size_of
from foreman.domain.job import RUNNING, TERMINAL, Job, State
from foreman.domain.responses import numbers
from foreman.domain.responses.conversation import fields_of
from foreman.domain.responses.own_answer import EVENTS, OPENING
from foreman.domain.responses.request import wanted_of
from foreman.domain.responses.shown import OTHERWISE, answered, status_of, unanswered
from foreman.http.body import held
from foreman.http.context import context
from foreman.http.framing import COMMENT_EVERY, SLICE, Sse, framed
from foreman.http.server.inflow import inflow
from foreman.http.stored import artifact_part, pieces
from foreman.offload import offload
from foreman.queue.results import COMPLETION
from foreman.store.readers import Readers

MOST_FILLING = 2**20  # bytes of a request that are repeated to fill numbers
MOST_FILLED = 1000  # numbers of broken off attempts that are filled with `response.in_progress`, else skipped
_CLOSING = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OPENING = frozenset(name.encode() for name in OPENING)


class _Event(msgspec.Struct):
    type: str
    sequence_number: int


def follow(job: Job, payload: Mapping[str, msgspec.Raw], output: OutputLog, *, after: int = -1) -> Response:
    """Answer with the events of a response after the number `after`, as they come.

    `output` is the log of the job, made before the job was read. The events of the answer are told live if the response
    was made with `background` and `stream`; else the answer is told when it is whole.
    """
    body = _Events(context().readers, job, payload, output, held(), after)
    response = Response(body.parts(inflow(request).hurry), content_type=Sse.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Foreman-Job-Id"] = job.id
    return response


class _Events:
    """The events of one response for one reader.

    A reader is never told of two attempts in one stream: its events would contradict each other. When an attempt breaks
    off that the reader knows a part of, the stream ends without a closing event, as when Foreman itself ends; asked
    again, it begins anew with what the next attempt says.
    """

    def __init__(
        self,
        readers: Readers,
        job: Job,
        payload: Mapping[str, msgspec.Raw],
        output: OutputLog,
        lease: Lease,
        after: int,
    ) -> None:
        self._readers = readers
        self._job = job
        self._payload = payload
        self._output = output
        self._lease = lease
        self._after = after
        self._live = wanted_of(payload).background and payload.get("stream") == msgspec.Raw(b"true")
        self._next = numbers.CREATED
        self._said = False  # the reader has a part of the answer
        self._closed = False
        self._has_room = False  # for the stored answer

    async def parts(self, hurry: Callable[[], None]) -> AsyncIterator[bytes]:
        """Yield the body of the answer."""
        yield sse.comment("queued")  # sends the head of the answer now
        yield self._lifecycle("response.created", "queued")
        yield self._lifecycle("response.queued", "queued")
        if self._job.state not in TERMINAL:
            async for part in self._live_parts(hurry):
                yield part
            if self._output.ended is None or self._closed:
                return
        try:
            async for part in self._stored_parts():
                yield part
        except ForemanError as error:
            shown = {"type": "error", "code": error.code, "message": str(error), "param": None}
            yield sse.event(msgspec.json.encode(shown | {"sequence_number": self._next}), b"error")

    async def _live_parts(self, hurry: Callable[[], None]) -> AsyncIterator[bytes]:
        """Yield events as they come; the rest is to be read from the store once the job has ended."""
        output, frame = self._output, Sse(RESPONSES.path)
        reader = output.follow(hurry)
        runs = self._job.state in RUNNING
        while True:
            if self._next == numbers.QUEUED + 1 and (runs or output.runs):
                yield self._lifecycle("response.in_progress", "in_progress")
            if (item := reader.next_nowait()) is None:
                with trio.move_on_after(COMMENT_EVERY) as silence:
                    await output.wait()
                if silence.cancelled_caught:
                    yield sse.comment("working" if runs or output.runs else "queued")
            elif item.chunk is not None and self._live and item.label.name not in _OPENING:
                if len(item.chunk) <= SLICE:
                    yield b"".join(self._told(item.chunk))
                    continue
                for part in self._until(_read(item.chunk).sequence_number):
                    yield part
                if self._takes(item.chunk):
                    async for part in framed(frame, item.chunk, item.label.name, reader):
                        yield part
            elif (item.attempt is not None and self._said) or item.cut is not None or item.ended is not None:
                return

    async def _stored_parts(self) -> AsyncIterator[bytes]:
        """Yield the events that are left of a job that has ended."""
        job = await self._readers.insist(lambda store: store.job(self._job.id))
        if job is None:
            return
        self._job = job
        if job.state is not State.DONE:
            # A cancelled attempt does not tell how many events it has numbered.
            least = self._after + 1 if job.state is State.CANCELLED else 0
            for part in self._until(max(numbers.first_of(job.fence), least)):
                yield part
            yield self._lifecycle("response.failed", status_of(job.state))
            return
        if await self._readers.insist(lambda store: store.size(job.id, EVENTS)) is None:
            answer = await self._answer()
            for event in await offload(len(answer), _unfolded, job, self._payload, answer):
                yield b"".join(self._told(event))
            return
        await self._make_room()  # the event that closes the answer has all of it
        lines = sse.Lines()
        size = await self._readers.insist(lambda store: store.size(job.id, EVENTS)) or 0
        async for piece in pieces(self._readers, artifact_part(job.id, EVENTS), 0, size):
            for line in lines.feed(piece):
                yield b"".join(self._told(line))
        for line in lines.end():
            yield b"".join(self._told(line))
        if not self._closed:  # the answer was cut off
            answer = await self._answer()
            shown = answered(job, self._payload, fields_of(answer))
            closing = {"type": "response.incomplete", "sequence_number": self._next, "response": shown}
            yield b"".join(self._told(msgspec.json.encode(closing)))

    async def _answer(self) -> bytes:
        """Return the stored answer. Raise MemoryFull when it finds no room."""
        job_id = self._job.id
        await self._make_room()
        return await self._readers.insist(lambda store: store.content(job_id, COMPLETION)) or b"{}"

    async def _make_room(self) -> None:
        """Count the stored answer, and what is made of it, as held. Raise MemoryFull when there is no room."""
        job_id = self._job.id
        size = await self._readers.insist(lambda store: store.size(job_id, COMPLETION)) or 0
        if not self._has_room:
            self._lease.grow(2 * size)
            self._has_room = True

    def _lifecycle(self, kind: str, status: str) -> bytes:
        """Return the next event, which has the response without an answer; nothing if the reader has it."""
        number = self._next
        self._next += 1
        if number <= self._after:
            return b""
        shown = unanswered(self._job, self._payload, status)
        event = {"type": kind, "sequence_number": number, "response": shown}
        return sse.event(msgspec.json.encode(event), kind.encode())

    def _until(self, number: int) -> Iterator[bytes]:
        """Yield what tells of the numbers before this one: attempts that were broken off, and the one under way."""
        if number - self._next > 1 and number - self._next > self._fillable():
            self._next = number - 1
        while self._next < number:
            yield self._lifecycle("response.in_progress", "in_progress")

    def _fillable(self) -> int:
        """Return how many numbers may be filled: each time, most of the request is repeated."""
        repeated = sum(size_of(self._payload[name]) for name in OTHERWISE if name in self._payload)
        return min(MOST_FILLED, MOST_FILLING // max(1, repeated))

    def _told(self, data: bytes) -> Iterator[bytes]:
        """Yield an event of the answer, and what has to come before it."""
        yield from self._until(_read(data).sequence_number)
        if self._takes(data):
            yield sse.event(data, _read(data).type.encode())

    def _takes(self, data: bytes) -> bool:
        """Return True if the reader is to get an event of the answer, which is then counted as told."""
        event = _read(data)
        self._said = True
        self._closed = self._closed or event.type in _CLOSING
        if event.sequence_number < self._next:
            return False
        self._next = event.sequence_number + 1
        return event.sequence_number > self._after


def _unfolded(job: Job, payload: Mapping[str, msgspec.Raw], answer: bytes) -> list[bytes]:
    """Return the events of an answer that was stored without them, numbered as those of the last claim.

    Raise TargetGarbled for an answer of another shape than it should have.
    """
    try:
        shown = msgspec.json.decode(msgspec.json.encode(answered(job, payload, fields_of(answer))))
        told = [event for event in RESPONSES.unfold(shown) if event["type"] not in OPENING]
    except ODD as error:
        raise TargetGarbled(job.target or "the target", "an answer of an unknown shape") from error
    first = numbers.first_of(job.fence)
    return [msgspec.json.encode({**event, "sequence_number": first + place}) for place, event in enumerate(told)]


def _read(data: bytes) -> _Event:
    return msgspec.json.decode(data, type=_Event)
