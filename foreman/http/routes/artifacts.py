"""/jobs/{id}/artifacts: download an artifact, or a range of it."""

from __future__ import annotations

from hashlib import sha256

from quart import Response

from foreman.domain.errors import ArtifactNotFound, JobNotFound
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.sandbox import keep_from_running
from foreman.http.stored import Stored, artifact_part, ranged, stored_answer
from foreman.store.protocol import Reader
from foreman.store.records import Shape


async def fetch(job_id: str, name: str) -> Response:
    """Answer with an artifact; honour one byte range and If-None-Match.

    Raises:
        JobNotFound: The caller has no such job.
        ArtifactNotFound: The job has no such artifact.
        RangeInvalid: The range lies beyond the artifact's end.
    """

    def read(store: Reader) -> Shape:
        if store.job(job_id) is None:
            raise JobNotFound(job_id)
        found = next((shape for shape in store.shapes(job_id) if shape.name == name), None)
        if found is None:
            raise ArtifactNotFound
        return found

    found = await visibility.read(read)
    response = stored_answer(Stored(context().readers, artifact_part(job_id, name), found.size), found.content_type)
    keep_from_running(response)
    response.set_etag(sha256(f"{job_id}/{name}".encode()).hexdigest()[:40])  # artifacts never change
    return await ranged(response, found.size)
