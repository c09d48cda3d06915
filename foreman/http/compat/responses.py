"""The routes of stored responses: made in the background, read, followed, cancelled and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec
from quart import Blueprint, Response, request

from foreman.domain import intake, views
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import (
    Draining,
    IllegalTransition,
    JobNotFound,
    QueryInvalid,
    ResponseNotFound,
    ResponseNotInBackground,
)
from foreman.domain.fields import size_of
from foreman.domain.job import TERMINAL, Job, Priority, State
from foreman.domain.responses import numbers
from foreman.domain.responses.conversation import fields_of, shown_items
from foreman.domain.responses.ids import job_id_of
from foreman.domain.responses.ids import response_id as id_of
from foreman.domain.responses.request import Wanted, read_wanted, wanted_of
from foreman.domain.responses.shown import answered, unanswered
from foreman.http import visibility
from foreman.http.body import held
from foreman.http.compat import calls, response_stream
from foreman.http.compat.waiting import Dialect
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text
from foreman.http.query import whole
from foreman.offload import offload
from foreman.queue.commands import Cancel, Delete, Submit
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader

responses = Blueprint("responses", __name__, url_prefix=RESPONSES.path)

ITEMS, MOST_ITEMS = 20, 100  # items of an input in one answer


class Found(NamedTuple):
    """A stored response."""

    job: Job
    payload: Mapping[str, msgspec.Raw]
    answer: bytes | None
    size: int  # bytes of payload and answer

    @property
    def wanted(self) -> Wanted:
        """Return what its request asked for."""
        return wanted_of(self.payload)


async def create(dialect: Dialect, endpoint: Endpoint) -> Response:
    """Answer a request for a response: at once in the background, else when it is there."""
    ctx = context()
    if ctx.draining:
        raise Draining
    wishes = calls.read_wishes()
    submission = await calls.read(endpoint)
    wanted = read_wanted(submission.payload)
    if not wanted.background:
        return await calls.answered(dialect, endpoint, submission, wishes, forget=not wanted.stored)
    as_stream = intake.read_stream(submission.payload)
    draft = await calls.drafted(
        endpoint,
        submission,
        wishes.priority,
        otherwise=Priority.LOW if wanted.may_wait else Priority.NORMAL,
        idempotency_key=intake.read_idempotency_key(request.headers.get("Idempotency-Key")),
    )
    output = ctx.hub.output(draft.id)  # before the job exists, so that no event of it is missed
    job = (await ctx.queue.ask(Submit(draft=draft))).job
    if job.id != draft.id:  # it was asked for before, under the same key
        output = ctx.hub.output(job.id)
    shown = without_input(submission.payload)
    held().free()  # the request is on disk
    held().resize(sum(map(size_of, shown.values())), insist=True)
    if as_stream:
        return response_stream.follow(job, shown, output)
    status = "queued" if job.id == draft.id else ""
    if job.state is State.DONE:
        return _answer(await _find(id_of(job.id)))
    response = json_answer(unanswered(job, shown, status))
    response.headers["X-Foreman-Job-Id"] = job.id
    return response


def without_input(payload: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Return copies of all fields but the input: each value as it came keeps its whole body in memory."""
    return {name: value.copy() for name, value in payload.items() if name != "input"}


@responses.get("/<response_id>")
async def show(response_id: str) -> Response:
    """Show a response, or with `stream=true` its events after the number `starting_after`."""
    if not _is_set("stream"):
        return _answer(await _find(response_id))
    after = request.args.get("starting_after")
    number = -1 if after is None else whole("starting_after", after, 0, numbers.LAST, least=0)
    output = context().hub.output(job_id_of(response_id) or "")  # before the read, so that no later event is missed
    found = await _find(response_id)
    return response_stream.follow(found.job, found.payload, output, after=number)


@responses.post("/<response_id>/cancel")
async def cancel(response_id: str) -> Response:
    """Cancel a response that was made in the background; one that has ended stays as it is."""
    found = await _find(response_id)
    if not found.wanted.background:
        raise ResponseNotInBackground(response_id)
    if found.job.state not in TERMINAL:
        await _cancel(found.job)
        found = await _find(response_id)
    return _answer(found)


@responses.delete("/<response_id>")
async def delete(response_id: str) -> Response:
    """Delete a response with its job, which is cancelled first if it has not ended."""
    job = (await _find(response_id)).job
    if job.state not in TERMINAL:
        await _cancel(job)
    try:
        await context().queue.ask(Delete(job_id=job.id, caller=context().auth.caller(request)))
    except JobNotFound as error:
        raise ResponseNotFound(response_id) from error
    return json_answer(views.ResponseDeleted(response_id))


@responses.get("/<response_id>/input_items")
async def input_items(response_id: str) -> Response:
    """List a page of the items of a response's input, with those of the responses that it continues."""
    limit = whole("limit", request.args.get("limit"), ITEMS, MOST_ITEMS)
    order, after = request.args.get("order", "desc"), request.args.get("after")
    if order not in ("asc", "desc"):
        raise QueryInvalid("order", order, "must be asc or desc")
    found = await _find(response_id)
    items = await offload(found.size, shown_items, found.payload.get("input"), found.job.id)
    if order == "desc":
        items.reverse()
    if after:
        place = next((place for place, item in enumerate(items) if item["id"] == after), None)
        if place is None:
            raise QueryInvalid("after", after, "must be the id of an item of this list")
        items = items[place + 1 :]
    shown = items[:limit]
    ids = [item["id"] for item in shown] or [None]
    return json_answer(views.InputItems(shown, ids[0], ids[-1], len(items) > limit))


async def _find(response_id: str) -> Found:
    """Return a stored response that the current caller may see.

    Raises:
        ResponseNotFound: There is none.
        MemoryFull: It finds no room.
    """
    job_id = job_id_of(response_id)
    if job_id is None:
        raise ResponseNotFound(response_id)

    def size(store: Reader) -> int:
        return (store.size(job_id) or 0) + (store.size(job_id, COMPLETION) or 0)

    def read(store: Reader) -> tuple[Job | None, bytes | None, bytes | None]:
        return store.job(job_id), store.content(job_id), store.content(job_id, COMPLETION)

    try:
        taken = await visibility.read(size)
        held().grow(taken)
        job, payload, answer = await visibility.read(read)
    except JobNotFound as error:
        raise ResponseNotFound(response_id) from error
    if job is None or payload is None or job.endpoint != RESPONSES.path:
        raise ResponseNotFound(response_id)
    found = Found(job, await offload(len(payload), fields_of, payload), answer, taken)
    if not found.wanted.stored:
        raise ResponseNotFound(response_id)
    return found


def _answer(found: Found) -> Response:
    if found.answer is None:
        response = json_answer(unanswered(found.job, found.payload))
    else:
        response = json_text(msgspec.json.encode(answered(found.job, found.payload, fields_of(found.answer))))
    response.headers["X-Foreman-Job-Id"] = found.job.id
    return response


async def _cancel(job: Job) -> None:
    """Cancel a job unless it has ended meanwhile."""
    with suppress(IllegalTransition):
        await context().queue.ask(Cancel(job_id=job.id, caller=context().auth.caller(request)))


def _is_set(name: str) -> bool:
    """Return True if a query parameter is `true`. Raise QueryInvalid for other words than true and false."""
    given = request.args.get(name, "false").lower()
    if given not in ("true", "false"):
        raise QueryInvalid(name, given, "must be true or false")
    return given == "true"
