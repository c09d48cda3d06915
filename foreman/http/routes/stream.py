"""/jobs/{id}/stream: the output of a job as it is produced, as NDJSON or SSE, for any number of readers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import trio
from msgspec.structs import replace
from quart import Response, request

from foreman.actors.output import OutputItem, OutputReader
from foreman.actors.results import COMPLETION
from foreman.domain import sse, views
from foreman.domain.endpoints import at
from foreman.domain.job import TERMINAL, Job, State
from foreman.http import visibility
from foreman.http.body import held
from foreman.http.context import context
from foreman.http.server.exchange import inflow
from foreman.http.stored import AT_ONCE, PIECE, pieces
from foreman.store.protocol import Reader
from foreman.store.sqlite.readers import Readers

SLICE = 2**16  # bytes of a large chunk that each reader takes at a time
COMMENT_EVERY = 10.0  # seconds between the comments that keep an idle SSE connection open


async def follow(job_id: str) -> Response:
    """Answer `GET /jobs/{id}/stream`: stream a running job, or the stored answer of an ended one."""
    ctx = context()
    output = ctx.hub.output(job_id)  # held before the read, so that no later event is missed
    job = await visibility.find(job_id)
    wants_sse = "text/event-stream" in request.headers.get("Accept", "")
    frame = Sse(job.endpoint) if wants_sse else Ndjson()
    readers = ctx.readers
    if job.state in TERMINAL:
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        held().grow(min(size or 0, AT_ONCE))
        body = stored(job, readers, frame)
    else:
        body = live(job, readers, output.follow(inflow(request).hurry), frame)
    response = Response(body, content_type=frame.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Foreman-Job-Id"] = job_id
    return response


class Ndjson:
    """NDJSON framing: one JSON value per line."""

    content_type = "application/x-ndjson"

    whole_name = None

    def chunk(self, data: bytes, name: bytes | None = None) -> bytes:
        """Return a framed JSON value."""
        return sse.on_one_line(data) + b"\n"

    def around(self, name: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the frame before and after a value sent in parts."""
        return b"", b"\n"

    def notice(self, value: object) -> bytes:
        """Return a framed message of Foreman's own."""
        return self.chunk(msgspec.json.encode(value))

    def end(self) -> bytes:
        """Return the end mark of the stream."""
        return b""


class Sse:
    """SSE framing: one JSON value per event, named and ended as in the endpoint's own stream."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, endpoint: str) -> None:
        self._typed = at(endpoint).typed
        self.whole_name = at(endpoint).whole_name

    def chunk(self, data: bytes, name: bytes | None = None) -> bytes:
        """Return a framed JSON value as an event with this name."""
        return sse.event(data, name)

    def around(self, name: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the frame before and after a value sent in parts as an event with this name."""
        return sse.begin(name), sse.END

    def notice(self, value: object) -> bytes:
        """Return a framed message of Foreman's own, named by its type on typed endpoints."""
        data = msgspec.json.encode(value)
        return self.chunk(data, _type_of(data) if self._typed else None)

    def end(self) -> bytes:
        """Return the end mark of the stream; typed endpoints have none."""
        return b"" if self._typed else b"data: [DONE]\n\n"


async def next_or_comment(reader: OutputReader, frame: Ndjson | Sse, comment: str) -> OutputItem | bytes:
    """Return the next item, or an SSE comment after COMMENT_EVERY seconds; NDJSON has no comments and waits."""
    with trio.move_on_after(COMMENT_EVERY if isinstance(frame, Sse) else float("inf")):
        return await reader.next()
    return sse.comment(comment)


async def live(job: Job, readers: Readers, reader: OutputReader, frame: Ndjson | Sse) -> AsyncIterator[bytes]:
    """Yield chunks as they arrive, and messages about new attempts and an end other than done."""
    if isinstance(frame, Sse):
        yield sse.comment("waiting")  # sends the head of the answer now
    said = False
    while True:
        item = await next_or_comment(reader, frame, "waiting")
        if isinstance(item, bytes):
            yield item
        elif item.chunk is not None:
            said = True
            if len(item.chunk) <= SLICE:
                yield frame.chunk(item.chunk, item.label.name)
            else:
                async for part in framed(frame, item.chunk, item.label.name, reader):
                    yield part
        elif item.attempt is not None:
            yield frame.notice(views.StreamMessage(foreman=views.StreamStatus(attempt=item.attempt)))
        elif item.cut is not None:
            state = item.ended.state if item.ended else job.state
            cut = views.show_error(item.cut)
            status = views.StreamStatus(state=state)
            yield frame.notice(views.StreamMessage(cut.error, cut.code, cut.hint, status))
            return
        elif item.ended is not None and not said:
            # The reader began after the last chunk and before the commit, so that the log was empty.
            ended = replace(job, state=item.ended.state, error=item.ended.error)
            async for part in stored(ended, readers, frame):
                yield part
            return
        elif item.ended is not None:
            if item.ended.state is not State.DONE:
                yield frame.notice(ended_badly(item.ended.state, item.ended.error))
            yield frame.end()
            return


async def stored(job: Job, readers: Readers, frame: Ndjson | Sse) -> AsyncIterator[bytes]:
    """Yield the whole answer of an ended job as one chunk.

    Bodies are sent after the request context is gone, so this must not use it.
    """

    def read(store: Reader) -> tuple[bytes | None, int]:
        size = store.size(job.id, COMPLETION) or 0
        return store.content(job.id, COMPLETION) if size <= PIECE else None, size

    answer, size = await readers.read(read) if job.state is State.DONE else (None, 0)
    if size > PIECE:
        before, after = frame.around(frame.whole_name)
        yield before
        async for part in in_one_line(pieces(readers, job.id, COMPLETION, 0, size)):
            yield part
        yield after
    else:
        yield (
            frame.chunk(answer, frame.whole_name)
            if answer is not None
            else frame.notice(ended_badly(job.state, job.error))
        )
    yield frame.end()


async def framed(frame: Ndjson | Sse, chunk: bytes, name: bytes | None, reader: OutputReader) -> AsyncIterator[bytes]:
    """Yield a large chunk in slices, as long as it is kept; readers share the chunk and copy one slice each."""

    async def slices() -> AsyncIterator[bytes]:
        for start in range(0, len(chunk), SLICE):
            if not reader.goes_on():
                break
            yield chunk[start : start + SLICE]

    before, after = frame.around(name)
    yield before
    async for part in in_one_line(slices()):
        yield part
    yield after


async def in_one_line(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a JSON text in parts, without line ends (see `on_one_line`).

    Line ends between tokens become blanks. Those within strings are escaped; their bytes may span two parts.
    """
    rest = b""
    async for part in parts:
        text = rest + part
        end = len(text)
        while end and text[end - 1] & 0xC0 == 0x80:  # the bytes of a character after its first one (RFC 3629)
            end -= 1
        if end and text[end - 1] >= 0xC0:
            end -= 1
        rest = text[end:]
        yield sse.on_one_line(text[:end].replace(b"\n", b" ").replace(b"\r", b" "))
    yield sse.on_one_line(rest)


def ended_badly(state: State, error: str | None) -> views.StreamMessage:
    """Return the message for a job that ended in another state than done."""
    return views.StreamMessage(error or f"the job was {state}", foreman=views.StreamStatus(state=state))


def _type_of(data: bytes) -> bytes | None:
    kind = msgspec.json.decode(data, type=_Typed).type
    return kind.encode() if isinstance(kind, str) and _NAME.fullmatch(kind) else None


class _Typed(msgspec.Struct):
    type: Any = None


_NAME = re.compile(r"[\w.-]+")
