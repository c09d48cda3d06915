"""The caller of a compatible call, who waits for the job and gets its answer: whole, or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Protocol

import msgspec
import trio
from quart import Response, request

from foreman.actors.output import OutputItem, OutputLog, OutputReader
from foreman.domain import sse
from foreman.domain.answers.chunk import Label
from foreman.domain.endpoints.completion import without_usage
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.errors import ForemanError, JobEnded, JobNotFound, StreamBroken
from foreman.domain.job import JobEvent, State
from foreman.http.body import held
from foreman.http.context import Context
from foreman.http.errors import json_text, public
from foreman.http.framing import SLICE, Ndjson, Sse, framed, next_or_comment
from foreman.http.server.inflow import inflow
from foreman.http.stored import Stored, artifact_part, stored_answer
from foreman.offload import offload
from foreman.queue.commands import Cancel, Delete
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader

UNDECIDED = 0.25  # seconds in which an error still sets the status of a stream; then the answer's head is sent
GOODBYE = 5.0  # seconds for cancelling the job of a caller that has left


class Dialect(Protocol):
    """The conventions of one compatible API: error shapes, framing, defaults."""

    streams_by_default: bool

    def error(self, error: ForemanError) -> Response:
        """Return an error as a response of its own."""

    def error_line(self, error: ForemanError) -> msgspec.Struct:
        """Return an error as a view, also for a stream that has begun."""

    def frame(self, endpoint: Endpoint) -> Ndjson | Sse:
        """Return the framing of an endpoint's chunks."""


class WaitingCaller:
    """The caller that waits for a job; its job is cancelled when the caller leaves, unless it is kept."""

    def __init__(self, ctx: Context, output: OutputLog, *, keep: bool, usage: bool, forget: bool = False) -> None:
        """Wait for a job; with `forget` it is deleted when its caller has the answer, or does not want it any more."""
        self._ctx = ctx
        self._keep = keep
        self._forget = forget
        self.output = output
        self._hurry = inflow(request).hurry
        self._held = held()  # kept, since streams are sent after the request's context is gone
        self.ended: JobEvent | None = None
        self._usage = usage
        self._left = False

    @cached_property
    def reader(self) -> OutputReader:
        """Return the reader of the output, which a caller of a whole answer does without."""
        return self.output.follow(self._hurry)

    def part_of(self, chunk: bytes, label: Label) -> bytes | None:
        """Return the chunk as the caller asked for it: Foreman requests usage that the caller may not expect."""
        return chunk if self._usage else without_usage(chunk, label.usage)

    async def next(self) -> OutputItem:
        """Return the next item of the output; the last one ends the job."""
        return await self._seen(await self.reader.next())

    async def next_or_comment(self, frame: Ndjson | Sse, comment: str) -> OutputItem | bytes:
        """Return the next item of the output, or a comment after a while without one."""
        found = await next_or_comment(self.reader, frame, comment)
        return found if isinstance(found, bytes) else await self._seen(found)

    async def end(self) -> JobEvent:
        """Return the event that ends the job, without a look at its output before."""
        self.ended = await self.output.wait_ended()
        await self._ask_why(self.ended)
        return self.ended

    async def _seen(self, item: OutputItem) -> OutputItem:
        if item.ended is not None:
            self.ended = item.ended
            await self._ask_why(item.ended)
        return item

    async def _ask_why(self, ended: JobEvent) -> None:
        """Ask the node that ran a failed job for the error, which the store has as a text alone."""
        if ended.state is State.FAILED and self.output.error is None and self._ctx.remote_outputs is not None:
            self.output.error = await self._ctx.remote_outputs.error(ended)

    async def response(self) -> Response:
        """Return the whole answer of a done job as a response."""
        job_id, readers = self.output.job_id, self._ctx.readers
        if self.output.result is not None:
            return json_text(self.output.result)
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        if size is None:
            raise JobNotFound(job_id)
        at_end = self.forget if self._forget else None
        body = Stored(readers, artifact_part(job_id, COMPLETION), size, after=b"\n", at_end=at_end)
        return stored_answer(body, due=True)

    async def answer(self) -> bytes:
        """Return the whole answer of a done job. Raise MemoryFull when it finds no room."""
        if self.output.result is not None:
            return self.output.result
        job_id, readers = self.output.job_id, self._ctx.readers
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        self._held.grow(size or 0)

        def read(store: Reader) -> bytes:
            return store.content(job_id, COMPLETION) or b"{}"

        return await readers.read(read)

    def error(self, ended: JobEvent) -> ForemanError:
        """Return the error of a job that ended without being done."""
        if ended.state is State.FAILED and self.output.error is not None:
            return self.output.error
        return JobEnded(ended.state, ended.error)

    def keep(self) -> None:
        """Keep the job when the caller leaves."""
        self._keep = True

    async def leave(self) -> None:
        """Cancel the job unless it has ended or is kept. A shutdown is not a caller disconnect."""
        if self.ended is None and not self._keep and not self._left and not self._ctx.draining:
            self._left = True
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GOODBYE):
                await self._ctx.queue.tell(Cancel(job_id=self.output.job_id))
        if self.ended is not None or self._left:
            await self.forget()

    async def forget(self) -> None:
        """Delete the job, which has ended, if nothing of it is to be kept beyond the answer."""
        if self._forget:
            self._forget = False
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GOODBYE):
                await self._ctx.queue.tell(Delete(job_id=self.output.job_id))


async def whole(dialect: Dialect, caller: WaitingCaller) -> Response:
    """Answer with the whole answer, once the job has ended."""
    ended = await caller.end()
    if ended.state is not State.DONE:
        await caller.forget()
        return dialect.error(caller.error(ended))
    response = await caller.response()
    if caller.output.result is not None:  # else it is read from the store while it is sent
        await caller.forget()
    return response


async def streamed(dialect: Dialect, caller: WaitingCaller, endpoint: Endpoint, waits: int | None) -> Response:
    """Answer with a stream of the job's chunks. `waits` is its queue position if it has to wait."""
    first: OutputItem | None = None
    if not waits:
        with trio.move_on_after(UNDECIDED):
            first = await _something(caller)
        if first and first.ended and first.ended.state is not State.DONE:
            await caller.forget()
            return dialect.error(caller.error(first.ended))
    frame = dialect.frame(endpoint)
    response = Response(_Body(dialect, caller, endpoint, frame, first, waits), content_type=frame.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _something(caller: WaitingCaller) -> OutputItem:
    """Return the first item that decides the status: a chunk or the end."""
    while True:
        item = await caller.next()
        if item.chunk is not None or item.ended is not None:
            return item


class _Body:
    """A streamed answer. Quart closes it at its end, and when the caller disconnects."""

    def __init__(
        self,
        dialect: Dialect,
        caller: WaitingCaller,
        endpoint: Endpoint,
        frame: Ndjson | Sse,
        first: OutputItem | None,
        waits: int | None,
    ) -> None:
        self._dialect = dialect
        self._caller = caller
        self._endpoint = endpoint
        self._frame = frame
        self._found: OutputItem | bytes | None = first
        self._comment = f"queued {waits}" if waits else "working"
        if isinstance(frame, Sse) and waits:
            self._found = sse.comment(self._comment)
        self._said = False
        self._over = False
        self._rest: AsyncIterator[bytes] | None = None  # of a large chunk

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        while not self._over:
            if self._rest is not None:
                async for part in self._rest:
                    return part
                self._rest = None
            item = self._found or await self._caller.next_or_comment(self._frame, self._comment)
            self._found = None
            if isinstance(item, bytes):
                return item
            if item.chunk is not None:
                self._said = True
                self._comment = "working"
                chunk = self._caller.part_of(item.chunk, item.label)
                if chunk is not None and len(chunk) > SLICE:
                    self._rest = framed(self._frame, chunk, item.label.name, self._caller.reader)
                elif chunk is not None:
                    return self._together(chunk, item.label)
            elif item.attempt is not None and self._said:
                self._caller.keep()  # the caller did not leave; its job goes on without the stream
                return self._last(StreamBroken(item.attempt, self._caller.output.error))
            elif item.cut is not None:
                return self._last(item.cut)
            elif item.ended is not None:
                if item.ended.state is not State.DONE:
                    return self._last(self._caller.error(item.ended))
                if not self._said:
                    self._said = True
                    self._rest = self._stored()
                    continue
                self._over = True
                if (end := self._frame.end()) and item.ended.error is None:  # a cut answer gets no end mark
                    return end
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._caller.leave()

    async def _stored(self) -> AsyncIterator[bytes]:
        """Yield the stored answer as chunks: another node ran the job, and none of them came from there."""
        try:
            answer = await self._caller.answer()
        except ForemanError as error:
            yield self._last(error)
            return
        for whole, label in await offload(len(answer), _unfolded, self._endpoint, answer):
            if (chunk := self._caller.part_of(whole, label)) is not None:
                yield self._frame.chunk(chunk, label.name)

    def _together(self, first: bytes, label: Label) -> bytes:
        """Return a small chunk framed, and after it those that came together with it."""
        frame, caller = self._frame, self._caller
        framed_chunks = [frame.chunk(first, label.name)]
        for whole, other in caller.reader.more(SLICE - len(first)):
            if (chunk := caller.part_of(whole, other)) is not None:
                framed_chunks.append(frame.chunk(chunk, other.name))
        return b"".join(framed_chunks)

    def _last(self, error: ForemanError) -> bytes:
        self._over = True
        return self._frame.notice(self._dialect.error_line(public(error)))


def _unfolded(endpoint: Endpoint, answer: bytes) -> list[tuple[bytes, Label]]:
    """Return the chunks of a stream for a whole answer."""
    value = msgspec.json.decode(answer)
    parts = endpoint.unfold(value)
    return [(answer if part is value else msgspec.json.encode(part), endpoint.label(part)) for part in parts]
