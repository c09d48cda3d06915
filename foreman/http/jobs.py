"""/jobs: submit, show, list, follow."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Blueprint, Response, request
from ulid import ULID

from foreman import wire
from foreman.actors.desk import position
from foreman.errors import (
    ArtifactNotFound,
    BodyTooLarge,
    BodyUnreadable,
    Draining,
    FieldInvalid,
    JobNotFound,
    WrongContentType,
)
from foreman.http import stream
from foreman.http.deps import deps
from foreman.http.problems import json_answer
from foreman.job import Artifact, Job, Priority, State
from foreman.messages import Cancel, Submit
from foreman.store.protocol import Reader, Shape

jobs = Blueprint("jobs", __name__, url_prefix="/jobs")

COMPLETION = "completion"
PAGE = 50
LONGEST_PAGE = 500
EVENTS_OF_A_JOB = 1000  # most that one answer lists


@jobs.post("")
async def submit() -> Response:
    """Accept a job: read, ask, show."""
    known = deps()
    if known.draining:
        raise Draining
    idempotency_key = wire.read_idempotency_key(request.headers.get("Idempotency-Key"))
    submission = wire.read_submission(await read_json_body(), now=known.clock())
    model = await known.inventory.resolve(submission.model)
    draft = submission.draft(
        str(ULID()),
        canonical=model.name,
        max_attempts=known.settings.max_attempts,
        idempotency_key=idempotency_key,
    )
    accepted = await known.queue.ask(Submit(draft=draft))
    response = json_answer(wire.show_accepted(accepted.job, accepted.position), 202)
    response.headers["Location"] = f"/jobs/{accepted.job.id}"
    return response


@jobs.get("")
async def listing() -> Response:
    """Newest first, a page at a time."""
    asked = request.args
    state = _choice("state", asked.get("state"), {state.value: state for state in State})
    priority = _choice("priority", asked.get("priority"), {p.word: p for p in Priority})
    limit = _whole("limit", asked.get("limit"), PAGE, LONGEST_PAGE)
    after = asked.get("after")
    if after is not None:
        check_id("after", after)

    def read(store: Reader) -> list[Job]:
        model = asked.get("model")
        return store.jobs(state=state, model=model, priority=priority, before=after, limit=limit + 1)

    found = await deps().readers.read(read)
    more = found[limit - 1].id if len(found) > limit else None
    return json_answer({"jobs": [wire.show_job(job) for job in found[:limit]], "next": more})


@jobs.get("/<job_id>")
async def show(job_id: str) -> Response:
    known = deps()
    now, limit, inline = known.clock(), known.settings.starvation_limit, known.settings.artifact_inline_limit

    def read(store: Reader) -> dict[str, Any]:
        job = store.job(job_id)
        if job is None:
            raise JobNotFound
        place = position(store, job, known.worker.resident, now, limit)
        shown = wire.show_job(job, position=place, eta=known.worker.estimate(place))
        return shown | _results(store, job, inline)

    return json_answer(await known.readers.read(read))


def _results(store: Reader, job: Job, inline: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"result": None, "artifacts": []}
    for shape in store.shapes(job.id):
        small = shape.size <= inline
        artifact = store.artifact(job.id, shape.name) if small or shape.name == COMPLETION else None
        if artifact is not None and shape.name == COMPLETION:
            shown["result"] = msgspec.Raw(artifact.data)
        shown["artifacts"].append(show_artifact(job.id, shape, artifact if small else None))
    return shown


def show_artifact(job_id: str, shape: Shape, artifact: Artifact | None) -> dict[str, Any]:
    """An artifact in a job or a webhook: with its data when that is small enough to be given, else with its URL."""
    shown: dict[str, Any] = {"name": shape.name, "content_type": shape.content_type, "size": shape.size}
    if artifact is None:
        return shown | {"url": f"/jobs/{job_id}/artifacts/{shape.name}"}
    if shape.content_type.startswith(("text/", "application/json")):
        return shown | {"data": artifact.data.decode(errors="replace")}
    return shown | {"encoding": "base64", "data": artifact.data}  # msgspec writes bytes as base64


@jobs.post("/<job_id>/cancel")
async def cancel(job_id: str) -> Response:
    job = await deps().queue.ask(Cancel(job_id=job_id))
    return json_answer(wire.show_job(job))


@jobs.get("/<job_id>/events")
async def events(job_id: str) -> Response:
    def read(store: Reader) -> list[dict[str, Any]]:
        if store.job(job_id) is None:
            raise JobNotFound
        return [wire.show_change(change) for change in store.changes(job_id=job_id, limit=EVENTS_OF_A_JOB)]

    return json_answer({"events": await deps().readers.read(read)})


@jobs.get("/<job_id>/stream")
async def follow(job_id: str) -> Response:
    return await stream.follow(job_id)


@jobs.get("/<job_id>/artifacts/<name>")
async def artifact(job_id: str, name: str) -> Response:
    def read(store: Reader) -> Artifact:
        if store.job(job_id) is None:
            raise JobNotFound
        found = store.artifact(job_id, name)
        if found is None:
            raise ArtifactNotFound
        return found

    found = await deps().readers.read(read)
    response = Response(found.data, content_type=found.content_type)
    # An artifact is a model's words: whatever it looks like, it must not run as a page of this origin.
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    await response.add_etag()
    return await response.make_conditional(request, accept_ranges=True, complete_length=len(found.data))


async def read_json_body() -> bytes:
    """The body of a JSON request. Raises WrongContentType, BodyTooLarge, BodyUnreadable."""
    kind = request.headers.get("Content-Type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise WrongContentType(kind, "application/json")
    return await read_body()


async def read_body() -> bytes:
    limit = deps().settings.max_body
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(limit)
    body = await request.get_data(cache=False)
    if not isinstance(body, bytes):
        raise BodyUnreadable
    return body


def check_id(name: str, value: str) -> None:
    try:
        ULID.from_str(value)
    except ValueError:
        raise FieldInvalid(name, value, "must be a job id (26 letters and digits)") from None


def _choice(name: str, given: str | None, allowed: dict[str, Any]) -> Any:
    if given is None:
        return None
    if given not in allowed:
        raise FieldInvalid(name, given, f"must be one of {', '.join(allowed)}")
    return allowed[given]


def _whole(name: str, given: str | None, default: int, most: int) -> int:
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= most):
        raise FieldInvalid(name, given, f"must be a whole number from 1 to {most}")
    return int(given)
