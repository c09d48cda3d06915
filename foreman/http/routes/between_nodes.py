"""Routes that the nodes of a fleet call, and nobody else: their requests are signed with the fleet's secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import msgspec
import trio
from quart import Blueprint, Response, abort, request

from foreman.actors.output import OutputLog, OutputReader
from foreman.actors.pushes import Push
from foreman.domain import output_frames
from foreman.domain.endpoints import EVERY
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.errors import InvalidJson, JobNotFound, ModelNotFound
from foreman.domain.intake import Submission
from foreman.domain.job import RUNNING, State
from foreman.domain.node_auth import BETWEEN_NODES, NodeAuth
from foreman.http.body import held, read_body
from foreman.http.compat import calls
from foreman.http.compat.ollama import OLDER, older_embeddings
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text, no_content, status_of
from foreman.http.framing import SLICE
from foreman.http.query import whole
from foreman.http.server.inflow import inflow
from foreman.queue.commands import Look

between_nodes = Blueprint("between_nodes", __name__)

CALLS = f"{BETWEEN_NODES}calls"  # before the path of a call past the queue
ENDPOINTS: dict[str, Endpoint] = {
    OLDER: EVERY["/api/embed"],
    **{path: endpoint for path, endpoint in EVERY.items() if endpoint.past_queue},
    **{endpoint.counting: endpoint for endpoint in EVERY.values() if endpoint.counting is not None},
}
MOST = 10**9 - 1
PAUSE = 2.0  # seconds of silence before an empty line, which shows that the connection is well


@between_nodes.get(f"{BETWEEN_NODES}outputs/<job_id>")
async def output(job_id: str) -> Response:
    """Stream the output of a claim of this node, `fence`, to another: as `domain/output_frames.py` has it.

    Chunks are sent from number `from` on, if the log still has the turn `turn`. Raise JobNotFound unless the claim runs
    here.
    """
    ctx = context()
    fence, turn, begin = (whole(name, request.args.get(name), 0, MOST, least=0) for name in ("fence", "turn", "from"))
    found = ctx.hub.output(job_id)  # held before the read, so that no later event is missed
    at_work = ctx.outlook.at_work.get(job_id)
    if at_work is None or at_work.fence != fence:  # the claim may have ended, and its end not be stored yet
        job = await ctx.readers.read(lambda store: store.job(job_id))
        runs = job is not None and job.state in RUNNING and job.target in ctx.outlook.own_sites
        if job is None or not runs or job.fence != fence:
            raise JobNotFound(job_id)
    if not found.turn:
        raise JobNotFound(job_id)
    reader = found.follow(inflow(request).hurry, begin if turn == found.turn else 0)
    response = Response(_frames(found, reader), content_type="application/octet-stream")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


@between_nodes.get(f"{BETWEEN_NODES}errors/<job_id>")
async def error(job_id: str) -> Response:
    """Show the error of a job that has failed here, if it is remembered. Raise JobNotFound otherwise."""
    found = context().hub.errors.get(job_id)
    if found is None:
        raise JobNotFound(job_id)
    shown = output_frames.ShownError(
        status=status_of(found),
        message=str(found),
        code=found.code,
        cost=found.cost.value,
        hint=found.hint,
        retry_after=getattr(found, "retry_after", None),
    )
    return json_answer(shown)


@between_nodes.post(f"{BETWEEN_NODES}news")
async def news() -> Response:
    """Look at the store for what the node that asks has committed; tell it of the jobs that it names."""
    ctx = context()
    try:
        push = msgspec.json.decode(await read_body(), type=Push)
    except msgspec.DecodeError as error:
        raise InvalidJson(str(error)) from error
    assert ctx.pushes is not None
    ctx.pushes.watch(NodeAuth.signer(request.headers["Authorization"]), push.watched)
    await ctx.queue.tell(Look())
    return no_content()


@between_nodes.post(f"{CALLS}/<path:path>")
async def call(path: str) -> Response:
    """Answer a call past the queue that another node has passed on; 204 if it belongs in the queue."""
    path = f"/{path}"
    if (endpoint := ENDPOINTS.get(path)) is None:
        abort(404)
    asked = await calls.read_uncounted(endpoint)
    if context().fleet.find_here(asked.model) is None:
        raise ModelNotFound(asked.model)
    try:
        if path == OLDER:
            return await older_embeddings(asked, partial(_past_queue, endpoint))
        if path == endpoint.counting:
            return json_text(await calls.count(endpoint, asked))
        return json_text(await _past_queue(endpoint, asked))
    except _InTurn:
        return no_content()


async def _past_queue(endpoint: Endpoint, asked: Submission) -> bytes:
    ctx = context()
    model = ctx.fleet.find_here(asked.model)
    assert model is not None
    answer = await ctx.past_queue.ask(calls.call_of(endpoint, asked, model.name), held())
    if answer is None:
        raise _InTurn
    return answer


class _InTurn(Exception):
    """The call would displace a loaded model."""


async def _frames(log: OutputLog, reader: OutputReader) -> AsyncIterator[bytes]:
    turn = log.turn
    yield output_frames.began(log.attempt, turn)
    while log.turn == turn:
        item = reader.next_nowait()
        if item is None:
            waited = True
            with trio.move_on_after(PAUSE):
                await log.wait()
                waited = False
            if waited:
                yield output_frames.PAUSE
        elif item.chunk is not None and len(item.chunk) <= SLICE:
            found = [(item.chunk, item.label), *reader.more(SLICE - len(item.chunk))]
            yield b"".join(output_frames.before_chunk(len(chunk), label) + chunk for chunk, label in found)
        elif item.chunk is not None:
            yield output_frames.before_chunk(len(item.chunk), item.label)
            for start in range(0, len(item.chunk), SLICE):
                if not reader.goes_on():
                    return  # what was sent is not whole, and so counts for nothing
                yield item.chunk[start : start + SLICE]
        else:
            if item.ended is not None and item.ended.state is State.DONE and item.cut is None:
                yield output_frames.END
            return
