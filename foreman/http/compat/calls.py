"""Synchronous calls: the target's own routes, where every call is a durable job that its caller waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol

import msgspec
import trio
from quart import Response, request
from ulid import ULID

from foreman.actors.output import Piece, Track
from foreman.actors.results import COMPLETION
from foreman.domain import wire
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
from foreman.domain.job import Change, Priority, State, drain_key
from foreman.http import rate_limit
from foreman.http.body import held, read_body
from foreman.http.context import Deps, deps
from foreman.http.errors import answer, json_text, public
from foreman.http.headers import ON_DISCONNECT, PRIORITY
from foreman.http.pieces import Stored, stored_answer
from foreman.http.routes.stream import SLICE, Ndjson, Sse, framed, next_or_comment
from foreman.http.server.exchange import inflow
from foreman.offload import offload
from foreman.queue.commands import Cancel, Submit
from foreman.store.protocol import Reader
from foreman.targets.answers.parsers import without_usage
from foreman.targets.protocol import Call

NOTHING = "missing request body"
UNDECIDED = 0.25  # seconds in which a fault still gets a status of its own; then the head of the answer goes out
COUNT_TIMEOUT = 60.0  # seconds for counting tokens, loading the model included
GOODBYE = 5.0  # seconds to tell the queue that a caller has left


class Face(Protocol):
    """How one API says things."""

    streams_by_default: bool

    def fault(self, fault: ForemanError) -> Response:
        """A fault before anything else was answered."""

    def fault_line(self, fault: ForemanError) -> dict[str, object]:
        """A fault after the stream began."""

    def frame(self, endpoint: Endpoint) -> Ndjson | Sse:
        """How chunks are framed."""


async def run(face: Face, endpoint: Endpoint) -> Response:
    """Answer a call of the target's own API: store it, wait for its turn, pass on what the target says."""
    known = deps()
    if known.draining:
        raise Draining
    caller, waits, streamed = await _asked(face, endpoint)
    held().free()  # the request is on disk
    try:
        response = await (_streamed(face, caller, endpoint, waits) if streamed else _whole(face, caller))
    except BaseException:
        await caller.leave()
        raise
    response.headers["X-Foreman-Job-Id"] = caller.track.job_id
    if waits:
        response.headers["X-Foreman-Queue-Position"] = str(waits)
    return response


async def _asked(face: Face, endpoint: Endpoint) -> tuple[_Caller, int | None, bool]:
    """Make a job of the request at hand; the caller, their position where they have to wait, whether they want a
    stream. Nothing of the request is kept in memory."""
    keep, priority = _wishes()
    submission = await read(endpoint)
    streamed = _wants_stream(submission.payload, default=face.streams_by_default)
    caller, waits = await _stored(endpoint, submission, keep=keep, priority=priority)
    return caller, waits, streamed


async def _stored(
    endpoint: Endpoint, submission: wire.Submission, *, keep: bool, priority: Priority
) -> tuple[_Caller, int | None]:
    """Make a job of a call; the caller who waits for it, and its position where it has to wait."""
    known = deps()
    model = await known.inventory.resolve(submission.model)
    job_id = str(ULID())
    track = known.relay.track(job_id)  # before the job exists, so that nothing it says is missed
    make = partial(
        submission.draft,
        canonical=model.name,
        max_attempts=known.settings.max_attempts,
        endpoint=endpoint,
        priority=priority,
        owner=known.gate.caller(request),
    )
    draft = await offload(submission.size, make, job_id)
    caller = _Caller(known, track, keep=keep, usage=_wants_usage(endpoint, submission.payload))
    try:
        accepted = await known.queue.ask(Submit(draft=draft))
    except BaseException:
        await caller.leave()
        raise
    return caller, accepted.position if known.worker.busy or (accepted.position or 0) > 1 else None


async def embed(endpoint: Endpoint, asked: wire.Submission) -> bytes:
    """Return the target's answer to a call for embeddings, which waits for no chat unless it takes a chat's place."""
    known = deps()
    model = await known.inventory.resolve(asked.model)
    payload = msgspec.json.encode(asked.payload)
    call = Call(model=asked.model, key=drain_key(model.name), endpoint=endpoint, payload=payload)
    answer = await known.embeddings.embed(call, held())
    return answer if answer is not None else await _in_turn(endpoint, asked)


async def _in_turn(endpoint: Endpoint, asked: wire.Submission) -> bytes:
    """Return the whole answer to a call once it has had its turn in the queue. Raises what ended its job."""
    if deps().draining:
        raise Draining
    keep, priority = _wishes()
    caller, _ = await _stored(endpoint, asked, keep=keep, priority=priority)
    try:
        while caller.ended is None:
            await caller.next()
        if caller.ended.state is not State.DONE:
            raise caller.fault(caller.ended)
        return await caller.answer()
    finally:
        await caller.leave()


async def count(path: Counting) -> bytes:
    """Return what the target says of the number of tokens in the request at hand, past the queue.

    Raises AttemptTimeout; NotLoaded rather than unload what jobs run on or wait for.
    """
    known, asked = deps(), await read(path)
    model = await known.inventory.resolve(asked.model)
    endpoint: Endpoint = "/v1/messages" if path == "/v1/messages/count_tokens" else "/v1/responses"
    payload = msgspec.json.encode(asked.payload)
    call = Call(model=asked.model, key=drain_key(model.name), endpoint=endpoint, payload=payload)
    with trio.move_on_after(COUNT_TIMEOUT):
        if known.target.displaces(call) and await known.readers.read(_has_work):
            raise NotLoaded(asked.model)
        return await known.target.count(path, call)
    raise AttemptTimeout(COUNT_TIMEOUT)


def _has_work(store: Reader) -> bool:
    return bool(store.board().ready or store.running())


async def read(endpoint: str) -> wire.Submission:
    """Return what the body of a call says; it counts as one of its caller's. Raises the fault of what is wrong."""
    rate_limit.count()
    body = await read_body()
    if not body.strip():
        raise InvalidJson(NOTHING)
    as_ollama = endpoint.startswith("/api/")
    return await offload(len(body), partial(wire.read_call, rest_ignored=as_ollama), body)


def answer_to(fault: ForemanError, shape: Callable[[ForemanError], object]) -> Response:
    """Return a fault in the shape of a face.

    These APIs know no 422: what Foreman itself finds wrong with a request is a 400. What the target refuses keeps its
    status.
    """
    response = answer(fault, shape)
    if response.status_code == 422 and not isinstance(fault, TargetRefused):
        response.status_code = 400
    return response


class _Caller:
    """Somebody who waits for a job, and what becomes of the job when they leave."""

    def __init__(self, known: Deps, track: Track, *, keep: bool, usage: bool) -> None:
        self._known = known
        self._keep = keep
        self.track = track
        self.follower = track.follow(inflow(request).hurry)
        self.ended: Change | None = None
        self._usage = usage
        self._left = False

    def part_of(self, chunk: bytes) -> bytes | None:
        """Return what the caller asked for of a chunk: Foreman has the target count tokens also for who did not."""
        return chunk if self._usage else without_usage(chunk)

    async def next(self) -> Piece:
        return self._seen(await self.follower.next())

    async def next_or_comment(self, frame: Ndjson | Sse, comment: str) -> Piece | bytes:
        found = await next_or_comment(self.follower, frame, comment)
        return found if isinstance(found, bytes) else self._seen(found)

    def _seen(self, piece: Piece) -> Piece:
        if piece.ended is not None:
            self.ended = piece.ended
        return piece

    async def response(self) -> Response:
        """The whole answer of a job that is done."""
        job_id, readers = self.track.job_id, self._known.readers
        if self.track.result is not None:
            return json_text(self.track.result)
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        if size is None:
            raise JobNotFound(job_id)
        return stored_answer(Stored(readers, job_id, COMPLETION, size, after=b"\n"), due=True)

    async def answer(self) -> bytes:
        """The whole answer of a job that is done, in memory. Raises MemoryFull."""
        if self.track.result is not None:
            return self.track.result
        job_id, readers = self.track.job_id, self._known.readers
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        held().grow(size or 0)

        def read(store: Reader) -> bytes:
            found = store.artifact(job_id, COMPLETION)
            return found.data if found else b"{}"

        return await readers.read(read)

    def fault(self, ended: Change) -> ForemanError:
        if ended.state is State.FAILED and self.track.fault is not None:
            return self.track.fault
        return JobEnded(ended.state, ended.error)

    def keep(self) -> None:
        """Have the job go on whatever happens."""
        self._keep = True

    async def leave(self) -> None:
        """Cancel the job, unless it has ended or its caller asked to keep it. One that Foreman leaves did not leave."""
        if self.ended is None and not self._keep and not self._left and not self._known.draining:
            self._left = True
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GOODBYE):
                await self._known.queue.tell(Cancel(job_id=self.track.job_id))


async def _whole(face: Face, caller: _Caller) -> Response:
    while caller.ended is None:
        await caller.next()
    if caller.ended.state is not State.DONE:
        return face.fault(caller.fault(caller.ended))
    return await caller.response()


async def _streamed(face: Face, caller: _Caller, endpoint: Endpoint, waits: int | None) -> Response:
    first: Piece | None = None
    if not waits:
        with trio.move_on_after(UNDECIDED):
            first = await _something(caller)
        if first and first.ended and first.ended.state is not State.DONE:
            return face.fault(caller.fault(first.ended))
    frame = face.frame(endpoint)
    response = Response(_Body(face, caller, frame, first, waits), content_type=frame.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _something(caller: _Caller) -> Piece:
    """The first piece worth an answer: a chunk or the end."""
    while True:
        piece = await caller.next()
        if piece.chunk is not None or piece.ended is not None:
            return piece


class _Body:
    """A streamed answer. Quart closes it at its end, and when the caller is gone."""

    def __init__(
        self, face: Face, caller: _Caller, frame: Ndjson | Sse, first: Piece | None, waits: int | None
    ) -> None:
        self._face = face
        self._caller = caller
        self._frame = frame
        self._found: Piece | bytes | None = first
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
            piece = self._found or await self._caller.next_or_comment(self._frame, self._comment)
            self._found = None
            if isinstance(piece, bytes):
                return piece
            if piece.chunk is not None:
                self._said = True
                self._comment = "working"
                chunk = self._caller.part_of(piece.chunk)
                if chunk is not None and len(chunk) > SLICE:
                    self._rest = framed(self._frame, chunk, self._caller.follower)
                elif chunk is not None:
                    return self._frame.chunk(chunk)
            elif piece.attempt is not None and self._said:
                self._caller.keep()  # it did not leave: the answer that it was denied goes on
                return self._last(StreamBroken(piece.attempt, self._caller.track.fault))
            elif piece.cut is not None:
                return self._last(piece.cut)
            elif piece.ended is not None:
                if piece.ended.state is not State.DONE:
                    return self._last(self._caller.fault(piece.ended))
                self._over = True
                if (end := self._frame.end()) and piece.ended.error is None:  # else cut: the last mark never came
                    return end
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._caller.leave()

    def _last(self, fault: ForemanError) -> bytes:
        self._over = True
        return self._frame.notice(self._face.fault_line(public(fault)))


def _wishes() -> tuple[bool, Priority]:
    keep = request.headers.get(ON_DISCONNECT, "cancel")
    if keep not in ("cancel", "keep"):
        raise FieldInvalid(ON_DISCONNECT, keep, "must be cancel or keep")
    word = request.headers.get(PRIORITY, Priority.HIGH.word)
    if word not in [priority.word for priority in Priority]:
        raise FieldInvalid(PRIORITY, word, "must be one of high, normal, low")
    return keep == "keep", Priority[word.upper()]


def _wants_stream(payload: dict[str, msgspec.Raw], *, default: bool) -> bool:
    given = wire.read_stream(payload)
    return default if given is None else given


def _wants_usage(endpoint: Endpoint, payload: dict[str, msgspec.Raw]) -> bool:
    if endpoint not in COMPLETIONS:
        return True
    return wire.read_include_usage(payload)
