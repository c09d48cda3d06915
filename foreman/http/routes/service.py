"""The service's own routes: probes, tickets, and the queue as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest

from quart import Blueprint, Response, request

from foreman import __version__
from foreman.actors.fleet import Member
from foreman.domain import views
from foreman.domain.job import Job, model_of
from foreman.domain.usage import MOST_GROUPS, OTHER
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.pages import page_of
from foreman.http.query import check_names, read_limit
from foreman.http.tickets import LIFE
from foreman.queue.commands import Pause, Resume
from foreman.queue.outlook import Expected
from foreman.store.protocol import Reader
from foreman.store.records import Line

service = Blueprint("service", __name__)


@service.get("/healthz")
async def healthz() -> Response:
    """Answer that Foreman is alive; `degraded` while the target is away or fails a model's calls.

    Requests a probe of the target. Model names are left out, since the route needs no token.
    """
    fleet, failing = context().fleet, context().outlook.failing()
    fleet.look()
    why = None
    if fleet.error is not None:
        why = str(fleet.error)
    elif failing:
        codes = ", ".join(sorted({breaker.why for _, _, breaker in failing}))
        count = len({model for _, model, _ in failing})
        models = "1 model" if count == 1 else f"{count} models"
        why = f"each call of {models} fails ({codes}), see /queue"
    return json_answer(
        views.Health(
            status="ok",
            degraded=not fleet.up or bool(failing),
            target_silent_seconds=round(fleet.silent, 1),
            version=__version__,
            boot_id=context().boot_id,
            target_error=why,
        )
    )


@service.get("/readyz")
async def readyz() -> Response:
    """Answer 200 when ready for jobs, 503 while draining and while the database's server is away."""
    ctx = context()
    status = "draining" if ctx.draining else "store_away" if ctx.store_away() else "ready"
    return json_answer(views.Readiness(status), 200 if status == "ready" else 503)


@service.post("/tickets")
async def ticket() -> Response:
    """Issue a ticket, which replaces the token where a browser sends no headers."""
    response = json_answer(views.Ticket(context().auth.ticket(request), int(LIFE)))
    response.headers["Cache-Control"] = "no-store"
    return response


@service.post("/queue/<any(pause, resume):verb>")
async def pause(verb: str) -> Response:
    """Pause or resume claiming; running jobs go on. The state survives restarts."""
    ctx = context()
    ctx.auth.check_admin(request)
    await ctx.queue.ask(Pause() if verb == "pause" else Resume())
    return json_answer(views.Paused(verb == "pause"))


@service.post("/reload")
async def reload() -> Response:
    """Read the settings again and take over what can change while Foreman runs; a wrong file changes nothing."""
    ctx = context()
    ctx.auth.check_admin(request)
    return json_answer(await ctx.reload())


@service.get("/queue/jobs")
async def line() -> Response:
    """List the waiting jobs in the order they would run, and the jobs with a future start."""
    ctx = context()
    check_names("limit")
    most = read_limit()
    now, wanted = ctx.clock(), visibility.by(request)

    def read(store: Reader) -> tuple[list[tuple[Job, Expected]], list[Job]]:
        up = ctx.fleet.any_up and not ctx.outlook.paused
        return ctx.outlook.line(store, now, most, up=up, wanted=wanted), store.scheduled(most)

    waiting, scheduled = await visibility.read(read)
    return json_answer(views.Line(page_of(waiting, _in_line), page_of(scheduled, views.show_listed)))


def _in_line(waiting: tuple[Job, Expected]) -> views.ListedJob:
    job, expected = waiting
    return views.show_job(views.ListedJob, job, position=expected.position, eta=expected.seconds)


@service.get("/queue")
async def queue() -> Response:
    """Summarise the queue: waiting jobs by model, running jobs, the loaded model."""
    ctx = context()

    running = await visibility.read(lambda store: store.running())
    lines, oldest = ctx.outlook.board.all_lines(), ctx.outlook.board.oldest()
    by_model: dict[str, dict[str, int]] = {}
    for line in lines:
        counts = by_model.setdefault(model_of(line.key), {"high": 0, "normal": 0, "low": 0})
        counts[line.priority.word] += line.ready + line.parked
    loaded = next((key for _, key in ctx.fleet.loaded()), None)
    return json_answer(
        views.Queue(
            queued=sum(line.ready + line.parked for line in lines),
            scheduled=sum(line.parked for line in lines),
            by_model=by_model,
            running=[_running(job) for job in running],
            resident=model_of(loaded) if loaded else None,
            slots=ctx.fleet.slots + ctx.outlook.slots_elsewhere,
            paused=ctx.outlook.paused,
            degraded=not ctx.fleet.up,
            failing_models=[
                views.FailingModel(
                    model, breaker.why, views.moment(breaker.opened_at or 0.0), views.moment(breaker.until), target
                )
                for target, model, breaker in ctx.outlook.failing()
            ],
            defaults=views.Defaults(ctx.settings.max_attempts, ctx.settings.attempt_timeout, ctx.settings.max_body),
            oldest_seconds=None if oldest is None else round(max(0.0, ctx.clock() - oldest), 3),
            targets=[_target(member) for member in ctx.fleet.members],
            by_caller=_by_caller(lines, running),
        )
    )


def _by_caller(lines: Iterable[Line], running: Iterable[Job]) -> dict[str, views.ByCaller]:
    """Return the numbers of waiting and running jobs of the callers with a name that the current one may see."""
    own = visibility.only_owner()
    waiting, at_work = Counter[str](), Counter[str]()
    for line in lines:
        if own in (None, line.caller[0]):
            waiting[line.caller[1] or line.caller[0]] += line.ready + line.parked
    for job in running:
        at_work[job.caller or job.owner] += 1
    return by_name(waiting, at_work)


def by_name(waiting: Counter[str], at_work: Counter[str]) -> dict[str, views.ByCaller]:
    """Return the numbers of the MOST_GROUPS names with the most jobs, those of all others together as OTHER."""
    jobs = waiting + at_work
    del jobs[""]
    shown = sorted(jobs if len(jobs) <= MOST_GROUPS else nlargest(MOST_GROUPS, jobs, key=jobs.__getitem__))
    found = {name: views.ByCaller(waiting[name], at_work[name]) for name in shown}
    if rest := jobs.keys() - found.keys():
        sums = (sum(counts[name] for name in {*rest, OTHER}) for counts in (waiting, at_work))
        found[OTHER] = views.ByCaller(*sums)
    return found


def _target(member: Member) -> views.ByTarget:
    return views.ByTarget(
        name=member.name,
        up=member.inventory.up,
        draining=member.drained,
        slots=member.slots,
        running=member.worker.running,
        loaded=list(dict.fromkeys(map(model_of, reversed(member.in_memory())))),
    )


def _running(job: Job) -> views.Running:
    return views.Running(
        job_id=job.id,
        model=job.model,
        custom_id=job.custom_id,
        state=job.state,
        attempt=job.attempt,
        target=job.target,
        started_at=views.moment(job.started_at),
    )
