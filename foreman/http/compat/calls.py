"""Compatible calls: the target's own routes, where every call is a durable job and its caller waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec
import trio
from msgspec.structs import replace
from quart import Response, request

from foreman.domain import intake
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.responses import for_target
from foreman.domain.errors import (
    AttemptTimeout,
    Draining,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    NotLoaded,
    TargetRefused,
)
from foreman.domain.job import Draft, Priority, State, load_key
from foreman.domain.node_auth import BETWEEN_NODES
from foreman.domain.responses.tiers import TIER, priority_of
from foreman.http import rate_limit
from foreman.http.body import held, read_body
from foreman.http.compat.waiting import Dialect, WaitingCaller, streamed, whole
from foreman.http.context import Context, context
from foreman.http.errors import answer
from foreman.http.headers import CALLER, ON_DISCONNECT, PRIORITY
from foreman.http.new_ids import new_job_id
from foreman.offload import offload
from foreman.queue.commands import Submit
from foreman.targets.protocol import Call

NOTHING = "missing request body"
IN_TURN = 204  # status of another node's answer to a call past the queue that belongs in the queue
PASSED_ON = ("Content-Type", "Content-Length", "Retry-After", "X-Should-Retry")  # headers of another node's answer
PRIORITIES = {priority.word: priority for priority in Priority}
COUNT_TIMEOUT = 60.0  # seconds for counting tokens, including loading the model


class Wishes(NamedTuple):
    """What the headers of a call ask for."""

    keep: bool  # its job goes on when the caller leaves
    priority: Priority | None  # of its job


async def run(dialect: Dialect, endpoint: Endpoint) -> Response:
    """Answer a compatible call: store it as a job, wait for its turn, forward the target's answer."""
    if context().draining:
        raise Draining
    wishes = read_wishes()
    return await answered(dialect, endpoint, await read(endpoint), wishes)


async def answered(
    dialect: Dialect, endpoint: Endpoint, submission: intake.Submission, wishes: Wishes, *, forget: bool = False
) -> Response:
    """Answer a call that was read, as `run` does. With `forget` its job is deleted once its caller has the answer."""
    caller, waits, as_stream = await _asked(dialect, endpoint, submission, wishes, forget=forget)
    held().free()  # the request is on disk
    try:
        response = await (streamed(dialect, caller, endpoint, waits) if as_stream else whole(dialect, caller))
    except BaseException:
        await caller.leave()
        raise
    response.headers["X-Foreman-Job-Id"] = caller.output.job_id
    if waits:
        response.headers["X-Foreman-Queue-Position"] = str(waits)
    return response


async def _asked(
    dialect: Dialect, endpoint: Endpoint, submission: intake.Submission, wishes: Wishes, *, forget: bool
) -> tuple[WaitingCaller, int | None, bool]:
    """Make a job of the current request.

    Return the caller, its queue position if it has to wait, and whether it wants a stream. Nothing of the request
    stays in memory.
    """
    as_stream = _wants_stream(submission.payload, default=dialect.streams_by_default)
    patient = not (as_stream or wishes.keep)
    caller, waits = await _stored(endpoint, submission, wishes, patient=patient, forget=forget)
    return caller, waits, as_stream


async def _stored(
    endpoint: Endpoint, submission: intake.Submission, wishes: Wishes, *, patient: bool = True, forget: bool = False
) -> tuple[WaitingCaller, int | None]:
    """Make a job of a call; return its caller, and its queue position if it has to wait.

    A `patient` caller learns nothing of the job before it ends.
    """
    ctx = context()
    draft = await drafted(endpoint, submission, wishes.priority, otherwise=Priority.HIGH)
    output = ctx.hub.output(draft.id)  # before the job exists, so that no output is missed
    usage = _wants_usage(endpoint, submission.payload)
    waiting = WaitingCaller(ctx, output, keep=wishes.keep, usage=usage, forget=forget)
    try:
        accepted = await ctx.queue.ask(Submit(draft=draft, patient=patient))
    except BaseException:
        await waiting.leave()
        raise
    return waiting, None if accepted.claimed else accepted.position


async def drafted(
    endpoint: Endpoint,
    submission: intake.Submission,
    priority: Priority | None,
    *,
    otherwise: Priority,
    idempotency_key: str | None = None,
) -> Draft:
    """Return the draft of a call's job. Its class is `priority`, else as OpenAI's `service_tier` says, or `otherwise`.

    The job has OpenAI's `metadata`, which stay in the payload. Raise as `Intake.draft` does.
    """
    ctx = context()
    own: dict[str, Any] = {"endpoint": endpoint.path, "priority": priority}
    if endpoint.dialect == "openai":
        own["metadata"] = intake.read_metadata(submission.payload)
        if priority is None:
            own["priority"] = priority_of(submission.payload.get(TIER))
    if own["priority"] is None:
        own["priority"] = otherwise
    return await ctx.intake.draft(
        replace(submission, own=own),
        new_job_id(),
        owner=ctx.auth.caller(request).name,
        caller=intake.read_caller(request.headers.get(CALLER)),
        idempotency_key=idempotency_key,
        took=held().grow,
    )


async def past_queue(endpoint: Endpoint, asked: intake.Submission) -> bytes:
    """Return the target's answer to a call past the queue; queue it only if it would displace the loaded model.

    Raise NotLoaded if it would, and cannot be a job.
    """
    ctx = context()
    model = await ctx.fleet.resolve(asked.model)
    call = call_of(endpoint, asked, model.name)
    is_elsewhere = ctx.calls_elsewhere is not None and not ctx.fleet.serving(call.key)
    answer = None if is_elsewhere else await ctx.past_queue.ask(call, held())
    if answer is None and not endpoint.job:
        raise NotLoaded(asked.model)
    return answer if answer is not None else await _in_turn(endpoint, asked)


async def pass_on(path: str, endpoint: Endpoint, asked: intake.Submission) -> Response | None:
    """Pass a call past the queue on to the route `path` of another node if no target here takes it.

    Return None where one does, or where the call belongs in the queue. Raise as `CallsElsewhere.ask` does.
    """
    ctx = context()
    if ctx.calls_elsewhere is None:
        return None
    model = await ctx.fleet.resolve(asked.model)
    call = call_of(endpoint, asked, model.name)
    served = ctx.fleet.serving(call.key)
    if ctx.fleet.takes_calls(call.key) or (served and not ctx.fleet.elsewhere.nodes(call.key, call.endpoint)):
        return None
    passage = await ctx.calls_elsewhere.ask(f"{BETWEEN_NODES}calls{path}", call, ctx.upstream.timeouts)
    if passage.status == IN_TURN:
        await passage.aclose()
        return None
    response = Response(passage, passage.status)
    for name in PASSED_ON:
        if (value := passage.headers.get(name.lower())) is not None:
            response.headers[name] = value
    response.timeout = None
    return response


def call_of(endpoint: Endpoint, asked: intake.Submission, model: str) -> Call:
    """Return the call to a target that has the model under this name."""
    payload = msgspec.json.encode(asked.payload)
    return Call(model=asked.model, key=load_key(model), endpoint=endpoint.path, payload=payload)


async def _in_turn(endpoint: Endpoint, asked: intake.Submission) -> bytes:
    """Run a call as a job and return its whole answer. Raise the error that ended the job."""
    if context().draining:
        raise Draining
    caller, _ = await _stored(endpoint, asked, read_wishes())
    try:
        ended = await caller.end()
        if ended.state is not State.DONE:
            raise caller.error(ended)
        return await caller.answer()
    finally:
        await caller.leave()


async def count(endpoint: Endpoint, asked: intake.Submission) -> bytes:
    """Return the target's token count of a request, past the queue.

    Raises:
        AttemptTimeout: Counting takes more than COUNT_TIMEOUT seconds.
        NotLoaded: Counting would unload the model of jobs that run or wait.
    """
    ctx = context()
    model = await ctx.fleet.resolve(asked.model)
    call = call_of(endpoint, asked, model.name)
    assert endpoint.counting is not None
    with trio.move_on_after(COUNT_TIMEOUT):
        serving = ctx.fleet.serving(call.key) or ctx.fleet.members
        member = next((one for one in serving if not one.target.displaces(call)), serving[0])
        if member.target.displaces(call) and await _has_work(ctx):
            raise NotLoaded(asked.model)
        return await member.target.count(endpoint.counting, member.named(call))
    raise AttemptTimeout(COUNT_TIMEOUT)


async def _has_work(ctx: Context) -> bool:
    return bool(ctx.outlook.board.ready or await ctx.readers.read(lambda store: store.running()))


async def read(endpoint: Endpoint) -> intake.Submission:
    """Read the body of a call, and count the call towards its caller's rate.

    Raise RateLimited, or the error of a bad body.
    """
    rate_limit.count()
    return await read_uncounted(endpoint)


async def with_turns(asked: intake.Submission) -> intake.Submission:
    """Return a request for a response as its target is to count it, with the turns before it."""
    ctx = context()
    whole = await ctx.intake.continued(asked, ctx.auth.caller(request).name, held().grow)
    return replace(whole, payload=for_target(whole.payload))


async def read_uncounted(endpoint: Endpoint) -> intake.Submission:
    """Read the body of a call. Raise the error of a bad one."""
    body = await read_body()
    if not body.strip():
        raise InvalidJson(NOTHING)
    return await offload(len(body), partial(intake.read_call, rest_ignored=endpoint.native), body)


def answer_to(error: ForemanError, shape: Callable[[ForemanError], object]) -> Response:
    """Return an error in the `shape` of a dialect.

    These APIs have no 422, so Foreman's own checks answer 400; a refusal of the target keeps its status.
    """
    response = answer(error, shape)
    if response.status_code == 422 and not isinstance(error, TargetRefused):
        response.status_code = 400
    return response


def read_wishes() -> Wishes:
    """Return what the headers of the current request ask for. Raise FieldInvalid."""
    headers = request.headers
    keep = headers.get(ON_DISCONNECT, "cancel")
    if keep not in ("cancel", "keep"):
        raise FieldInvalid(ON_DISCONNECT, keep, "must be cancel or keep")
    word = headers.get(PRIORITY)
    if word is not None and word not in PRIORITIES:
        raise FieldInvalid(PRIORITY, word, "must be one of high, normal, low")
    return Wishes(keep == "keep", PRIORITIES[word] if word is not None else None)


def _wants_stream(payload: dict[str, msgspec.Raw], *, default: bool) -> bool:
    given = intake.read_stream(payload)
    return default if given is None else given


def _wants_usage(endpoint: Endpoint, payload: dict[str, msgspec.Raw]) -> bool:
    if not endpoint.adds_usage:
        return True
    return intake.read_include_usage(payload)
