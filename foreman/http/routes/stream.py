"""/jobs/{id}/stream: the output of a job as it is produced, as NDJSON or SSE, for any number of readers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace
from quart import Response, request

from foreman.actors.output import OutputReader
from foreman.domain import sse, views
from foreman.domain.job import TERMINAL, Job, State
from foreman.http import visibility
from foreman.http.body import held
from foreman.http.context import context
from foreman.http.framing import SLICE, Ndjson, Sse, framed, in_one_line, next_or_comment
from foreman.http.server.inflow import inflow
from foreman.http.stored import AT_ONCE, PIECE, artifact_part, pieces
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader
from foreman.store.readers import Readers


async def follow(job_id: str) -> Response:
    """Answer `GET /jobs/{id}/stream`: stream a running job, or the stored answer of an ended one."""
    ctx = context()
    output = ctx.hub.output(job_id)  # held before the read, so that no later event is missed
    job = await visibility.find(job_id)
    output.is_stored = True
    wants_sse = "text/event-stream" in request.headers.get("Accept", "")
    frame = Sse(job.endpoint) if wants_sse else Ndjson()
    readers = ctx.readers
    if job.state in TERMINAL:
        size = await readers.read(lambda store: store.size(job_id, COMPLETION))
        held().grow(min(size or 0, AT_ONCE))
        body = stored(job, readers, frame)
    else:
        if ctx.pushes is not None:
            ctx.pushes.expect(job)
        body = live(job, readers, output.follow(inflow(request).hurry), frame)
    response = Response(body, content_type=frame.content_type)
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Foreman-Job-Id"] = job_id
    return response


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
                more = [frame.chunk(chunk, label.name) for chunk, label in reader.more(SLICE - len(item.chunk))]
                yield b"".join([frame.chunk(item.chunk, item.label.name), *more])
            else:
                async for part in framed(frame, item.chunk, item.label.name, reader):
                    yield part
        elif item.attempt is not None:
            said = False
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
        async for part in in_one_line(pieces(readers, artifact_part(job.id, COMPLETION), 0, size)):
            yield part
        yield after
    else:
        yield (
            frame.chunk(answer, frame.whole_name)
            if answer is not None
            else frame.notice(ended_badly(job.state, job.error))
        )
    yield frame.end()


def ended_badly(state: State, error: str | None) -> views.StreamMessage:
    """Return the message for a job that ended in another state than done."""
    return views.StreamMessage(error or f"the job was {state}", foreman=views.StreamStatus(state=state))
