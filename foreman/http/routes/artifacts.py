"""/jobs/{id}/artifacts: what a job made, or a part of it."""

from __future__ import annotations

from hashlib import sha256

from quart import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from foreman.domain.errors import ArtifactNotFound, JobNotFound, RangeInvalid
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.pieces import Stored, stored_answer
from foreman.http.sandbox import keep_from_running
from foreman.store.protocol import Reader, Shape


async def fetch(job_id: str, name: str) -> Response:
    def read(store: Reader) -> Shape:
        if store.job(job_id) is None:
            raise JobNotFound(job_id)
        found = next((shape for shape in store.shapes(job_id) if shape.name == name), None)
        if found is None:
            raise ArtifactNotFound
        return found

    found = await visibility.read(read)
    response = stored_answer(Stored(context().readers, job_id, name, found.size), found.content_type)
    keep_from_running(response)
    response.headers["Accept-Ranges"] = "bytes"
    response.set_etag(sha256(f"{job_id}/{name}".encode()).hexdigest()[:40])  # no artifact is ever another one
    asked = request.headers.get("Range", "")
    one = asked.lower().startswith("bytes=") and "," not in asked
    size = found.size if one else None  # without it ranges are ignored, as other kinds may be (RFC 9110, 14.2)
    try:
        return await response.make_conditional(request, accept_ranges=True, complete_length=size)
    except RequestedRangeNotSatisfiable:
        raise RangeInvalid(asked, found.size) from None
