"""Compatible calls: the target's own routes, where every call is a durable job and its caller waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol

import msgspec
import trio
from msgspec.structs import replace
from quart import Response, request
from ulid import ULID

from foreman.actors.output import OutputItem, OutputLog
from foreman.actors.results import COMPLETION
from foreman.domain import intake
from foreman.domain.endpoints import COMPLETIONS, Counting, Endpoint
from foreman.domain.errors import (
    AttemptTimeout,
    Draining,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    JobEnded,
    JobNotFound,
    NotLoaded,
    StreamBroken,
    TargetRefused,
)
from foreman.domain.job import JobEvent, Priority, State, load_key
from foreman.http import rate_limit
from foreman.http.body import held, read_body
from foreman.http.context import Context, context
from foreman.http.errors import answer, json_text, public
from foreman.http.headers import ON_DISCONNECT, PRIORITY
from foreman.http.routes.stream import SLICE, Ndjson, Sse, framed, next_or_comment
from foreman.http.server.exchange import inflow
from foreman.http.stored import Stored, stored_answer
from foreman.offload import offload
from foreman.queue.commands import Cancel, Submit
from foreman.store.protocol import Reader
from foreman.targets.answers.parsers import without_usage
from foreman.targets.protocol import Call

NOTHING = "missing request body"
UNDECIDED = 0.25  # seconds in which an error still sets the status of a stream; then the answer's head is sent
COUNT_TIMEOUT = 60.0  # seconds for counting tokens, including loading the model
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


async def run(dialect: Dialect, endpoint: Endpoint) -> Response:
    """Answer a compatible call: store it as a job, wait for its turn, forward the target's answer."""
    ctx = context()
    if ctx.draining:
        raise Draining
    caller, waits, streamed = await _asked(dialect, endpoint)
    held().free()  # the request is on disk
    try:
        response = await (_streamed(dialect, caller, endpoint, waits) if streamed else _whole(dialect, caller))
    except BaseException:
        await caller.leave()
        raise
    response.headers["X-Foreman-Job-Id"] = caller.output.job_id
    if waits:
        response.headers["X-Foreman-Queue-Position"] = str(waits)
    return response


async def _asked(dialect: Dialect, endpoint: Endpoint) -> tuple[_Caller, int | None, bool]:
    """Make a job of the current request.

    Return the caller, its queue position if it has to wait, and whether it wants a stream. Nothing of the request
    stays in memory.
    """
    keep, priority = _wishes()
    submission = await read(endpoint)
    streamed = _wants_stream(submission.payload, default=dialect.streams_by_default)
    caller, waits = await _stored(endpoint, submission, keep=keep, priority=priority)
    return caller, waits, streamed


async def _stored(
    endpoint: Endpoint, submission: intake.Submission, *, keep: bool, priority: Priority
) -> tuple[_Caller, int | None]:
    """Make a job of a call; return its caller, and its queue position if it has to wait."""
    ctx = context()
    submission = replace(submission, own={"endpoint": endpoint, "priority": priority})
    draft = await ctx.intake.draft(submission, str(ULID()), owner=ctx.auth.caller(request).name)
    output = ctx.hub.output(draft.id)  # before the job exists, so that no output is missed
    caller = _Caller(ctx, output, keep=keep, usage=_wants_usage(endpoint, submission.payload))
    try:
        accepted = await ctx.queue.ask(Submit(draft=draft))
    except BaseException:
        await caller.leave()
        raise
    return caller, accepted.position if ctx.worker.busy or (accepted.position or 0) > 1 else None


async def embed(endpoint: Endpoint, asked: intake.Submission) -> bytes:
    """Return the target's answer to a call for embeddings; queue it only if it would displace the model."""
    ctx = context()
    model = await ctx.inventory.resolve(asked.model)
    payload = msgspec.json.encode(asked.payload)
    call = Call(model=asked.model, key=load_key(model.name), endpoint=endpoint, payload=payload)
    answer = await ctx.embeddings.embed(call, held())
    return answer if answer is not None else await _in_turn(endpoint, asked)


async def _in_turn(endpoint: Endpoint, asked: intake.Submission) -> bytes:
    """Run a call as a job and return its whole answer. Raise the error that ended the job."""
    if context().draining:
        raise Draining
    keep, priority = _wishes()
    caller, _ = await _stored(endpoint, asked, keep=keep, priority=priority)
    try:
        while caller.ended is None:
            await caller.next()
        if caller.ended.state is not State.DONE:
            raise caller.error(caller.ended)
        return await caller.answer()
    finally:
        await caller.leave()


async def count(path: Counting) -> bytes:
    """Return the target's token count of the current request, past the queue.

    Raises:
        AttemptTimeout: Counting takes more than COUNT_TIMEOUT seconds.
        NotLoaded: Counting would unload the model of jobs that run or wait.
    """
    ctx, asked = context(), await read(path)
    model = await ctx.inventory.resolve(asked.model)
    endpoint: Endpoint = "/v1/messages" if path == "/v1/messages/count_tokens" else "/v1/responses"
    payload = msgspec.json.encode(asked.payload)
    call = Call(model=asked.model, key=load_key(model.name), endpoint=endpoint, payload=payload)
    with trio.move_on_after(COUNT_TIMEOUT):
        if ctx.target.displaces(call) and await ctx.readers.read(_has_work):
            raise NotLoaded(asked.model)
        return await ctx.target.count(path, call)
    raise AttemptTimeout(COUNT_TIMEOUT)


def _has_work(store: Reader) -> bool:
    return bool(store.board().ready or store.running())


async def read(endpoint: str) -> intake.Submission:
    """Read the body of a call, and count the call towards its caller's rate.

    Raise RateLimited, or the error of a bad body.
    """
    rate_limit.count()
    body = await read_body()
    if not body.strip():
        raise InvalidJson(NOTHING)
    as_ollama = endpoint.startswith("/api/")
    return await offload(len(body), partial(intake.read_call, rest_ignored=as_ollama), body)


def answer_to(error: ForemanError, shape: Callable[[ForemanError], object]) -> Response:
    """Return an error in the `shape` of a dialect.

    These APIs have no 422, so Foreman's own checks answer 400; a refusal of the target keeps its status.
    """
    response = answer(error, shape)
    if response.status_code == 422 and not isinstance(error, TargetRefused):
        response.status_code = 400
    return response


class _Caller:
    """The caller that waits for a job; its job is cancelled when the caller leaves, unless it is kept."""

    def __init__(self, ctx: Context, output: OutputLog, *, keep: bool, usage: bool) -> None:
        self._ctx = ctx
        self._keep = keep
        self.output = output
        self.reader = output.follow(inflow(request).hurry)
        self.ended: JobEvent | None = None
        self._usage = usage
        self._left = False

    def part_of(self, chunk: bytes) -> bytes | None:
        """Return the chunk as the caller asked for it: Foreman requests usage that the caller may not expect."""
        return chunk if self._usage else without_usage(chunk)

    async def next(self) -> OutputItem:
        return self._seen(await self.reader.next())

    async def next_or_comment(self, frame: Ndjson | Sse, comment: str) -> OutputItem | bytes:
        found = await next_or_comment(self.reader, frame, comment)
        return found if isinstance(found, bytes) else self._seen(found)

    def _seen(self, item: OutputItem) -> OutputItem:
        if item.ended is not None:
            self.ended = item.ended
        return item

    async def response(self) -> Response:
        """Return the whole answer of a done job as a response."""
        job_id, readers = self.output.job_id, self._ctx.readers
        if self.output.result is not None:
            return json_text(self.output.result)
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        if size is None:
            raise JobNotFound(job_id)
        return stored_answer(Stored(readers, job_id, COMPLETION, size, after=b"\n"), due=True)

    async def answer(self) -> bytes:
        """Return the whole answer of a done job. Raise MemoryFull when it finds no room."""
        if self.output.result is not None:
            return self.output.result
        job_id, readers = self.output.job_id, self._ctx.readers
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        held().grow(size or 0)

        def read(store: Reader) -> bytes:
            return store.content(job_id, COMPLETION) or b"{}"

        return await readers.read(read)

    def error(self, ended: JobEvent) -> ForemanError:
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


async def _whole(dialect: Dialect, caller: _Caller) -> Response:
    while caller.ended is None:
        await caller.next()
    if caller.ended.state is not State.DONE:
        return dialect.error(caller.error(caller.ended))
    return await caller.response()


async def _streamed(dialect: Dialect, caller: _Caller, endpoint: Endpoint, waits: int | None) -> Response:
    first: OutputItem | None = None
    if not waits:
        with trio.move_on_after(UNDECIDED):
            first = await _something(caller)
        if first and first.ended and first.ended.state is not State.DONE:
            return dialect.error(caller.error(first.ended))
    frame = dialect.frame(endpoint)
    response = Response(_Body(dialect, caller, frame, first, waits), content_type=frame.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _something(caller: _Caller) -> OutputItem:
    """Return the first item that decides the status: a chunk or the end."""
    while True:
        item = await caller.next()
        if item.chunk is not None or item.ended is not None:
            return item


class _Body:
    """A streamed answer. Quart closes it at its end, and when the caller disconnects."""

    def __init__(
        self, dialect: Dialect, caller: _Caller, frame: Ndjson | Sse, first: OutputItem | None, waits: int | None
    ) -> None:
        self._dialect = dialect
        self._caller = caller
        self._frame = frame
        self._found: OutputItem | bytes | None = first
        self._comment = f"queued {waits}" if waits else "working"
        if isinstance(frame, Sse) and waits:
            self._found = f": {self._comment}\n\n".encode()
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
                chunk = self._caller.part_of(item.chunk)
                if chunk is not None and len(chunk) > SLICE:
                    self._rest = framed(self._frame, chunk, self._caller.reader)
                elif chunk is not None:
                    return self._frame.chunk(chunk)
            elif item.attempt is not None and self._said:
                self._caller.keep()  # the caller did not leave; its job goes on without the stream
                return self._last(StreamBroken(item.attempt, self._caller.output.error))
            elif item.cut is not None:
                return self._last(item.cut)
            elif item.ended is not None:
                if item.ended.state is not State.DONE:
                    return self._last(self._caller.error(item.ended))
                self._over = True
                if (end := self._frame.end()) and item.ended.error is None:  # a cut answer gets no end mark
                    return end
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._caller.leave()

    def _last(self, error: ForemanError) -> bytes:
        self._over = True
        return self._frame.notice(self._dialect.error_line(public(error)))


def _wishes() -> tuple[bool, Priority]:
    keep = request.headers.get(ON_DISCONNECT, "cancel")
    if keep not in ("cancel", "keep"):
        raise FieldInvalid(ON_DISCONNECT, keep, "must be cancel or keep")
    word = request.headers.get(PRIORITY, Priority.HIGH.word)
    if word not in [priority.word for priority in Priority]:
        raise FieldInvalid(PRIORITY, word, "must be one of high, normal, low")
    return keep == "keep", Priority[word.upper()]


def _wants_stream(payload: dict[str, msgspec.Raw], *, default: bool) -> bool:
    given = intake.read_stream(payload)
    return default if given is None else given


def _wants_usage(endpoint: Endpoint, payload: dict[str, msgspec.Raw]) -> bool:
    if endpoint not in COMPLETIONS:
        return True
    return intake.read_include_usage(payload)
