"""/targets: the targets, and an operator's orders to them."""

from __future__ import annotations

from quart import Blueprint, Response, request

from foreman.actors import operating
from foreman.actors.fleet import Member
from foreman.config.checks import AUTO
from foreman.domain import views
from foreman.domain.errors import FieldInvalid, TargetNotFound, WrongTarget
from foreman.domain.intake import read_model
from foreman.domain.job import Instant, LoadKey, model_of
from foreman.domain.json_objects import read_object
from foreman.http.body import read_json_body
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.query import check_names, whole
from foreman.offload import offload
from foreman.targets.managed.child_log import MAX_TAIL, tail
from foreman.targets.managed.target import ManagedTarget
from foreman.targets.ollama import OllamaTarget
from foreman.targets.ollama_memory import Held
from foreman.targets.protocol import Target

targets = Blueprint("targets", __name__)

LINES = 100  # of a log, by default
MOST_LINES = 1000


@targets.get("/targets")
async def every() -> Response:
    """Describe all targets: their health, slots, models and speed."""
    return json_answer(views.Targets([_shown(member) for member in context().fleet.members]))


@targets.post("/targets/<name>/<any(drain, resume):verb>")
async def switch(name: str, verb: str) -> Response:
    """Have a target take no more jobs, or take jobs again. The state survives restarts."""
    ctx = context()
    ctx.auth.check_admin(request)
    member = _member(name)
    await (ctx.fleet.drain(member) if verb == "drain" else ctx.fleet.resume(member))
    return json_answer(_shown(member))


@targets.post("/targets/<name>/<any(load, unload):verb>")
async def order(name: str, verb: str) -> Response:
    """Load or unload a model; answer once that is done, or with the error."""
    ctx = context()
    ctx.auth.check_admin(request)
    member = _member(name)
    model = await _read_model()
    obey = operating.load if verb == "load" else operating.unload
    await obey(member, model, within=ctx.settings.attempt_timeout)
    return json_answer(_shown(member))


@targets.get("/targets/<name>/log")
async def log(name: str) -> Response:
    """Show the last lines that the servers of a managed target have written."""
    context().auth.check_admin(request)
    check_names("lines")
    lines = whole("lines", request.args.get("lines"), LINES, MOST_LINES)
    member = _member(name)
    target = member.target
    if not isinstance(target, ManagedTarget):
        raise WrongTarget(member.name, "keeps its own log: Foreman has those of managed models only")
    logs = [
        views.ModelLog(model, found)
        for model, path in target.logs.items()
        if (found := await offload(MAX_TAIL, tail, path, lines))
    ]
    return json_answer(views.TargetLog(logs))


async def _read_model() -> str:
    fields = read_object(await read_json_body())
    if unknown := sorted(set(fields) - {"model"}):
        raise FieldInvalid("body", ", ".join(unknown), "takes model only")
    return read_model(fields)


def _member(name: str) -> Member:
    """Return the target of this name. Raise TargetNotFound for another."""
    fleet = context().fleet
    if (member := fleet.get(name)) is None:
        raise TargetNotFound(name, [one.name for one in fleet.members])
    return member


def _shown(member: Member) -> views.Target:
    keys = list(reversed(member.in_memory()))
    since = member.worker.loads.since(keys)
    settings, inventory, tally = member.settings, member.inventory, member.worker.tally
    away = inventory.away_seconds
    speed = tally.tokens_per_second
    return views.Target(
        name=member.name,
        kind=settings.kind,
        url=settings.url or None,
        up=inventory.up,
        error=None if inventory.error is None else str(inventory.error),
        away_seconds=None if away is None else round(away, 1),
        draining=member.drained,
        slots=member.slots,
        slots_auto=settings.slots == AUTO,
        running=member.worker.running,
        max_loaded=settings.max_loaded if settings.memory is None else max(1, len(inventory.models)),
        loaded=[_loaded(member.target, key, since[key]) for key in keys],
        models=[model.name for model in inventory.models],
        jobs_done=tally.jobs_done,
        tokens_per_second=None if speed is None else round(speed, 1),
    )


def _loaded(target: Target, key: LoadKey, since: Instant) -> views.LoadedModel:
    told = (target.held(key) if isinstance(target, OllamaTarget) else None) or Held("")
    return views.LoadedModel(
        model_of(key),
        key,
        views.moment(since),
        size=told.size,
        size_vram=told.size_vram,
        expires_at=views.moment(told.expires_at),
        context_length=told.context_length,
    )
