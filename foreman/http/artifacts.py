"""/jobs/{id}/artifacts: what a job made, or a part of it."""

from __future__ import annotations

from quart import Response, request
from quart.wrappers.response import DataBody
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from foreman.errors import ArtifactNotFound, JobNotFound, RangeInvalid
from foreman.http import seen
from foreman.http.sandbox import keep_from_running
from foreman.job import Artifact
from foreman.store.protocol import Reader


async def fetch(job_id: str, name: str) -> Response:
    def read(store: Reader) -> Artifact:
        if store.job(job_id) is None:
            raise JobNotFound(job_id)
        found = store.artifact(job_id, name)
        if found is None:
            raise ArtifactNotFound
        return found

    found = await seen.read(read)
    response = _Raw(found.data, content_type=found.content_type)
    keep_from_running(response)
    response.headers["Accept-Ranges"] = "bytes"
    await response.add_etag()
    asked = request.headers.get("Range", "")
    one = asked.lower().startswith("bytes=") and "," not in asked
    size = len(found.data) if one else None  # without it ranges are ignored, as other kinds may be (RFC 9110, 14.2)
    try:
        return await response.make_conditional(request, accept_ranges=True, complete_length=size)
    except RequestedRangeNotSatisfiable:
        raise RangeInvalid(asked, len(found.data)) from None


class _Blob(DataBody):
    """A body of which a part may be asked for, counted from its end too (RFC 9110, 14.1.2)."""

    async def make_conditional(self, begin: int, end: int | None) -> int:
        return await super().make_conditional(max(0, len(self.data) + begin) if begin < 0 else begin, end)


class _Raw(Response):
    data_body_class = _Blob
