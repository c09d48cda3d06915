"""/jobs: submit, show, list, cancel, uncancel, retry, delete and stream jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import trio
from quart import Blueprint, Response, request

from foreman.domain import intake, views
from foreman.domain.caller import Caller
from foreman.domain.errors import DeliveryNotFound, Draining, JobNotFound
from foreman.domain.job import TERMINAL, Delivery, JobEvent
from foreman.http import rate_limit, visibility
from foreman.http.body import NDJSON, held, media_type, read_json_body
from foreman.http.context import context
from foreman.http.errors import json_answer, json_text, no_content
from foreman.http.headers import CALLER
from foreman.http.new_ids import new_job_id
from foreman.http.pages import page_of
from foreman.http.query import SEQ_DIGITS, check_names, read_limit, read_seq, whole
from foreman.http.routes import artifacts, batch_submission, bulk, export, selections, stream
from foreman.http.routes import uncancel as uncancelling
from foreman.http.selection import FILTERS, read_cursor, read_order, read_selection, show_cursor
from foreman.http.stored import Stored, artifact_part, stored_answer
from foreman.queue.commands import Accepted, Cancel, Delete, Redeliver, Retry, Submit, Uncancel
from foreman.queue.results import COMPLETION, show_results
from foreman.queue.why import why
from foreman.store.protocol import Reader
from foreman.store.records import Cursor

Entry = TypeVar("Entry", JobEvent, Delivery)
View = TypeVar("View")

jobs = Blueprint("jobs", __name__, url_prefix="/jobs")

LONGEST_WAIT = 300  # seconds
ENTRIES = 1000  # events or deliveries of a job per answer, at most
RESULT = b'"result":null,"artifacts":'  # marks where a large result is inserted while it is streamed


@jobs.post("")
async def submit() -> Response:
    """Accept a job, or many as NDJSON, also as a batch; with `Prefer: wait=N` answer when the job has ended."""
    ctx = context()
    if ctx.draining:
        raise Draining
    if batch_submission.NAME in request.args:
        return await batch_submission.submit()
    if media_type() == NDJSON:
        return await bulk.submit()
    rate_limit.count()
    wait = _preferred_wait(request.headers.get("Prefer"))
    accepted = await _accepted()
    held().free()  # the request is on disk
    if wait and await _ends(accepted.job.id, wait):
        response = await _shown(accepted.job.id)
    else:
        late = accepted.late if context().fleet.any_up else None
        response = json_answer(views.show_accepted(accepted.job, accepted.position, late), 202)
    response.headers["Location"] = f"/jobs/{accepted.job.id}"
    return _applied(response, wait)


async def _accepted() -> Accepted:
    """Make a job of the current request. Nothing of the request stays in memory."""
    ctx = context()
    idempotency_key = intake.read_idempotency_key(request.headers.get("Idempotency-Key"))
    caller = intake.read_caller(request.headers.get(CALLER))
    body = await read_json_body()
    submission = await ctx.intake.read(body, now=ctx.clock())
    draft = await ctx.intake.draft(
        submission, new_job_id(), owner=_caller().name, caller=caller, idempotency_key=idempotency_key
    )
    return await ctx.queue.ask(Submit(draft=draft))


async def _ends(job_id: str, wait: int) -> bool:
    """Wait for the job to end, `wait` seconds to pass, or Foreman to leave; return True if the job has ended."""
    ctx = context()
    output = ctx.hub.output(job_id)  # held before the read, so that no later event is missed
    job = await visibility.read(lambda store: store.job(job_id))
    if job is None or job.state in TERMINAL:
        return True
    if ctx.pushes is not None:
        ctx.pushes.expect(job)
    output.is_stored = True
    with trio.move_on_after(wait) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until, ctx.leaving, scope)
            while output.ended is None:
                await output.wait()
            nursery.cancel_scope.cancel()
    return output.ended is not None


async def _until(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@jobs.get("")
async def listing() -> Response:
    """List a page of jobs: newest first, or ended jobs with the latest end first."""
    check_names(*FILTERS, "order", "limit", "after")
    wanted = read_selection()
    order = read_order(wanted)
    most, after = read_limit(), read_cursor(order)
    found = await visibility.read(lambda store: store.jobs(wanted, order=order, after=after, limit=most + 1))
    shown = page_of(found[:most], views.show_listed)
    more = None
    if len(found) > len(shown):
        last = found[len(shown) - 1]
        more = show_cursor(Cursor(last.id, last.completed_at or 0.0), order)
    return json_answer(views.Page(shown, more))


@jobs.post("/cancel")
async def cancel_selected() -> Response:
    """Cancel all jobs that the filters select, and that have not ended."""
    return await selections.act(selections.CANCEL)


@jobs.post("/uncancel")
async def uncancel_selected() -> Response:
    """Queue jobs again as they were that a cancel of selected ones ended while they were queued."""
    return await uncancelling.act()


@jobs.post("/retry")
async def retry_selected() -> Response:
    """Requeue all jobs that the filters select, and that have failed, expired or been cancelled."""
    return await selections.act(selections.RETRY)


@jobs.post("/delete")
async def delete_selected() -> Response:
    """Delete all jobs that the filters select, and that have ended."""
    return await selections.act(selections.DELETE)


@jobs.get("/export")
async def export_selected() -> Response:
    """Stream all jobs that the filters select, as NDJSON or CSV."""
    return await export.export()


@jobs.get("/<job_id>")
async def show(job_id: str) -> Response:
    """Show the job; with `Prefer: wait=N` once it has ended or N seconds have passed."""
    wait = _preferred_wait(request.headers.get("Prefer"))
    if wait:
        await _ends(job_id, wait)
    return _applied(await _shown(job_id), wait)


async def _shown(job_id: str) -> Response:
    ctx = context()
    now, inline = ctx.clock(), ctx.settings.artifact_inline_limit

    def read(store: Reader) -> tuple[views.Job, int]:
        job = store.job(job_id)
        if job is None:
            raise JobNotFound(job_id)
        up = ctx.fleet.any_up and not ctx.outlook.paused
        expected = ctx.outlook.of(store, job, now, up=up)
        result, artifacts = show_results(store, job.id, inline)
        shown = views.show_job(
            views.Job,
            job,
            position=expected.position,
            eta=expected.seconds,
            why=why(ctx.outlook, store, job, expected, now),
            result=result,
            artifacts=artifacts,
        )
        return shown, store.size(job_id, COMPLETION) or 0

    shown, size = await visibility.read(read)
    head, mark, tail = msgspec.json.encode(shown).rpartition(RESULT)
    if size <= inline:
        return json_text(head + mark + tail)
    before, after = RESULT.split(b"null")
    held().grow(len(head) + len(tail))
    return stored_answer(
        Stored(ctx.readers, artifact_part(job_id, COMPLETION), size, before=head + before, after=after + tail + b"\n")
    )


@jobs.get("/<job_id>/request")
async def asked(job_id: str) -> Response:
    """Show the request that goes to the target: the body as submitted, without Foreman's own fields."""

    def read(store: Reader) -> int:
        size = store.size(job_id)
        if size is None:
            raise JobNotFound(job_id)
        return size

    return stored_answer(
        Stored(context().readers, artifact_part(job_id, None), await visibility.read(read), after=b"\n")
    )


@jobs.post("/<job_id>/cancel")
async def cancel(job_id: str) -> Response:
    """Cancel a job, queued or running."""
    job = await context().queue.ask(Cancel(job_id=job_id, caller=_caller()))
    return json_answer(views.show_job(views.Job, job))


@jobs.post("/<job_id>/uncancel")
async def uncancel(job_id: str) -> Response:
    """Queue a job again as it was that was cancelled while it was queued."""
    job = await context().queue.ask(Uncancel(job_id=job_id, caller=_caller()))
    return json_answer(views.show_job(views.Job, job))


@jobs.post("/<job_id>/retry")
async def retry(job_id: str) -> Response:
    """Requeue a job that has failed, expired or been cancelled."""
    rate_limit.count()
    ctx = context()
    again = await ctx.queue.ask(Retry(job_id=job_id, caller=_caller()))
    eta = again.seconds if ctx.fleet.any_up else None
    return json_answer(views.show_job(views.Job, again.job, position=again.position, eta=eta))


@jobs.delete("/<job_id>")
async def delete(job_id: str) -> Response:
    """Delete a job that has ended."""
    await context().queue.ask(Delete(job_id=job_id, caller=_caller()))
    return no_content()


def _caller() -> Caller:
    return context().auth.caller(request)


@jobs.get("/<job_id>/deliveries")
async def deliveries(job_id: str) -> Response:
    """List a page of the job's webhook deliveries, oldest first, after `?after=SEQ`."""
    after = _read_after()

    def read(store: Reader) -> list[Delivery]:
        if store.job(job_id) is None:
            raise JobNotFound(job_id)
        return store.deliveries(job_id, after=after, limit=ENTRIES + 1)

    shown, following = _page(await visibility.read(read), views.show_delivery)
    return json_answer(views.Deliveries(shown, following))


@jobs.post("/<job_id>/deliveries/<delivery_id>/redeliver")
async def redeliver(job_id: str, delivery_id: str) -> Response:
    """Send a webhook again."""
    if not (delivery_id.isascii() and delivery_id.isdigit() and len(delivery_id) <= SEQ_DIGITS):
        raise DeliveryNotFound
    delivery = await context().queue.ask(Redeliver(job_id=job_id, seq=int(delivery_id), caller=_caller()))
    return json_answer(views.show_delivery(delivery), 202)


@jobs.get("/<job_id>/events")
async def events(job_id: str) -> Response:
    """List a page of the job's events, oldest first, after `?after=SEQ`; `next` is the cursor of the next page."""
    after = _read_after()

    def read(store: Reader) -> list[JobEvent]:
        if store.job(job_id) is None:
            raise JobNotFound(job_id)
        return store.events(job_id=job_id, after=after, limit=ENTRIES + 1)

    shown, following = _page(await visibility.read(read), views.show_event)
    return json_answer(views.Events(shown, following))


def _read_after() -> int:
    check_names("after")
    return read_seq(request.args.get("after"), 0)


def _page(found: Sequence[Entry], show: Callable[[Entry], View]) -> tuple[list[View], int | None]:
    """Return the entries that fit one answer, and the `seq` that the next page begins after, if there is one."""
    shown = page_of(found[:ENTRIES], show)
    return shown, found[len(shown) - 1].seq if len(found) > len(shown) else None


@jobs.get("/<job_id>/stream")
async def follow(job_id: str) -> Response:
    """Stream the output of a job."""
    return await stream.follow(job_id)


@jobs.get("/<job_id>/artifacts/<name>")
async def artifact(job_id: str, name: str) -> Response:
    """Download an artifact of a job."""
    return await artifacts.fetch(job_id, name)


def _preferred_wait(prefer: str | None) -> int | None:
    """Return the seconds of `Prefer: wait=N`, if given; ignore other preferences, as RFC 7240 requires."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].strip().partition("=")
        if name.strip().lower() == "wait":
            return whole("Prefer: wait", value.strip(), 0, LONGEST_WAIT)
    return None


def _applied(response: Response, wait: int | None) -> Response:
    if wait:
        response.headers["Preference-Applied"] = f"wait={wait}"
    return response
