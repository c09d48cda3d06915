"""Why a job waits, by the rules that claims follow."""

from __future__ import annotations

from foreman.domain.job import Instant, Job, Priority, State, model_of
from foreman.domain.scheduling.prefixes import common
from foreman.domain.times import rfc3339
from foreman.domain.views import Why
from foreman.queue.outlook import Expected, Outlook
from foreman.queue.sites import Site
from foreman.store.protocol import Reader

MOST_COUNTED = 1000  # jobs


def why(outlook: Outlook, store: Reader, job: Job, expected: Expected, now: Instant) -> Why | None:
    """Return the first reason for which a job waits, or None when it does not wait."""
    if job.state is not State.QUEUED:
        return None
    if job.ready_at is not None and job.ready_at > now:
        return Why("time", f"it is not to start before {rfc3339(job.ready_at)}")
    if outlook.paused:
        return Why("paused", "the queue is paused")
    sites = [site for site in outlook.sites.values() if site.serves(job.key, job.endpoint)]
    serving = [site for site in sites if site.open]
    if not serving:
        return Why("target", _no_target(job, sites))
    if outlook.rests(job.key):
        return Why("rests", f"the model {model_of(job.key)} rests: its server was busy or failed")
    if (most := outlook.rules.most_running.get(job.owner)) is not None:
        running = sum(one.owner == job.owner for one in store.running())
        if running >= most:
            return Why("quota", f"{_jobs(running)} of {job.owner} {_run(running)}, and its quota allows {most}")
    return _behind(outlook, job, serving) or _in_lane(outlook, store, job, serving, expected)


def _no_target(job: Job, sites: list[Site]) -> str:
    if not sites:
        return f"no target is known to serve {model_of(job.key)}"
    names = " and ".join(site.name for site in sites if site.name) or "the target"
    has, away = ("has", "is") if len(sites) == 1 else ("have", "are")
    return f"{names} {has} {model_of(job.key)}, and {away} away or drained"


def _behind(outlook: Outlook, job: Job, serving: list[Site]) -> Why | None:
    """Return the reason that lies in other lanes."""
    keys = [key for key in outlook.board.keys_waiting() if any(site.serves(key) for site in serving)]
    higher = {one: sum(outlook.board.size(key, one) for key in keys) for one in range(job.priority)}
    if ahead := sum(higher.values()):
        words = " and ".join(Priority(one).word for one, count in higher.items() if count)
        return Why("class", f"{_jobs(ahead)} of class {words} {_goes(ahead)} first")
    holders = {}
    for site in serving:
        keys_at_work = {one.key for one in outlook.at_work.values() if one.target == site.name}
        turns = [*outlook.state_of(site.name).keys, *keys_at_work]
        if job.key in turns or not turns or site.room().fits({job.key, *keys_at_work}):
            return None
        holders[turns[-1]] = site.name
    key, target = next(iter(holders.items()))
    where = f" on {target}" if target else ""
    return Why("turn", f"{model_of(key)} has its turn{where}, and {model_of(job.key)} does not fit beside it")


def _in_lane(outlook: Outlook, store: Reader, job: Job, serving: list[Site], expected: Expected) -> Why:
    """Return the reason that lies in the job's own lane."""
    older = store.rank(job, most=MOST_COUNTED)
    position = expected.position or 1
    prompts = [outlook.state_of(site.name).prompts for site in serving]
    if all(one.must_wait(job) for one in prompts):
        return Why("prompt", "a running job computes the beginning of its prompt, which it will take from the cache")
    if position == 1:
        return Why("slot", "it is next, and starts when a slot is free")
    if older + 1 < position and len(outlook.board.callers(job.key, int(job.priority))) > 1:
        others = position - 1 - older
        return Why("caller", f"about {_jobs(others)} of callers that were served less {_goes(others)} first")
    turns = [turn.prefix for site in serving if (turn := outlook.state_of(site.name).standing.turn(job.key))]
    if not older and any(turn and not common(turn.path, job.prefix) for turn in turns):
        return Why("prompt", "jobs whose prompts begin like the one before go first, for a turn")
    if not older:
        others = position - 1
        return Why("turn", f"about {_jobs(others)} of other models or loading options {_goes(others)} first")
    return Why(
        "age", f"{_jobs(older)} of the same caller {_goes(older)} first: {'they are' if older > 1 else 'it is'} older"
    )


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _run(count: int) -> str:
    return "runs" if count == 1 else "run"


def _goes(count: int) -> str:
    return "goes" if count == 1 else "go"
