"""The service's own routes: probes, tickets, and the queue as a whole."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response, request

from foreman import __version__
from foreman.domain.job import Job, model_of
from foreman.domain.times import rfc3339
from foreman.domain.views import show_job
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.pages import page_of
from foreman.http.query import check_names, read_limit
from foreman.http.tickets import LIFE
from foreman.queue.commands import Pause, Resume
from foreman.queue.positions import Expected
from foreman.store.protocol import Lane, Reader

service = Blueprint("service", __name__)


@service.get("/healthz")
async def healthz() -> Response:
    """Answer that Foreman is alive; `degraded` while the target is away or fails a model's calls.

    Requests a probe of the target. Model names are left out, since the route needs no token.
    """
    inventory, failing = context().inventory, context().outlook.failing()
    inventory.look()
    shown: dict[str, Any] = {
        "status": "ok",
        "degraded": not inventory.up or bool(failing),
        "target_silent_seconds": round(inventory.silent, 1),
        "version": __version__,
        "boot_id": context().boot_id,
    }
    if inventory.error is not None:
        shown["target_error"] = str(inventory.error)
    elif failing:
        codes = ", ".join(sorted({breaker.why for breaker in failing.values()}))
        models = "1 model" if len(failing) == 1 else f"{len(failing)} models"
        shown["target_error"] = f"it fails each call of {models} ({codes}), see /queue"
    return json_answer(shown)


@service.get("/readyz")
async def readyz() -> Response:
    """Answer 200 when ready for jobs, 503 while draining."""
    ready = not context().draining
    return json_answer({"status": "ready" if ready else "draining"}, 200 if ready else 503)


@service.post("/tickets")
async def ticket() -> Response:
    """Issue a ticket, which replaces the token where a browser sends no headers."""
    response = json_answer({"ticket": context().auth.ticket(request), "expires_in": int(LIFE)})
    response.headers["Cache-Control"] = "no-store"
    return response


@service.post("/queue/<any(pause, resume):verb>")
async def pause(verb: str) -> Response:
    """Pause or resume claiming; running jobs go on. The state survives restarts."""
    ctx = context()
    ctx.auth.check_admin(request)
    await ctx.queue.ask(Pause() if verb == "pause" else Resume())
    return json_answer({"paused": verb == "pause"})


@service.get("/queue/jobs")
async def line() -> Response:
    """List the waiting jobs in the order they would run, and the jobs with a future start."""
    ctx = context()
    check_names("limit")
    most = read_limit()
    now, wanted = ctx.clock(), visibility.by(request)

    def read(store: Reader) -> tuple[list[tuple[Job, Expected]], list[Job]]:
        up = ctx.inventory.up and not ctx.outlook.paused
        return ctx.outlook.line(store, now, most, up=up, wanted=wanted), store.scheduled(most)

    waiting, scheduled = await visibility.read(read)
    return json_answer({"jobs": page_of(waiting, _in_line), "scheduled": page_of(scheduled, show_job)})


def _in_line(waiting: tuple[Job, Expected]) -> dict[str, Any]:
    job, expected = waiting
    return show_job(job, position=expected.position, eta=expected.seconds)


@service.get("/queue")
async def queue() -> Response:
    """Summarise the queue: waiting jobs by model, running jobs, the loaded model."""
    ctx = context()

    def read(store: Reader) -> tuple[list[Lane], list[Job], float | None]:
        return store.lanes(), store.running(), store.board().oldest()

    lanes, running, oldest = await visibility.read(read)
    by_model: dict[str, dict[str, int]] = {}
    for lane in lanes:
        counts = by_model.setdefault(model_of(lane.key), {"high": 0, "normal": 0, "low": 0})
        counts[lane.priority.word] += lane.ready + lane.parked
    loaded = ctx.worker.target_loaded()
    return json_answer(
        {
            "queued": sum(lane.ready + lane.parked for lane in lanes),
            "scheduled": sum(lane.parked for lane in lanes),
            "by_model": by_model,
            "running": [
                {
                    "job_id": job.id,
                    "model": job.model,
                    "custom_id": job.custom_id,
                    "state": job.state,
                    "attempt": job.attempt,
                    "started_at": rfc3339(job.started_at),
                }
                for job in running
            ],
            "resident": model_of(loaded) if loaded else None,
            "slots": ctx.settings.slots,
            "paused": ctx.outlook.paused,
            "degraded": not ctx.inventory.up,
            "failing_models": [
                {
                    "model": model,
                    "error_code": breaker.why,
                    "since": rfc3339(breaker.opened_at),
                    "retry_at": rfc3339(breaker.until),
                }
                for model, breaker in ctx.outlook.failing().items()
            ],
            "defaults": {
                "max_attempts": ctx.settings.max_attempts,
                "timeout": ctx.settings.attempt_timeout,
            },
            "oldest_seconds": None if oldest is None else round(max(0.0, ctx.clock() - oldest), 3),
        }
    )
