"""The results of a finished job: its result and artifacts, as a job's status and webhooks show them."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import NamedTuple

import msgspec

from foreman.domain import views
from foreman.store.protocol import Reader
from foreman.store.records import Shape

COMPLETION = "completion"


class Results(NamedTuple):
    """The result of a job, as JSON, and its artifacts."""

    result: msgspec.Raw | None
    artifacts: list[views.Artifact]


def show_results(store: Reader, job_id: str, inline: int) -> Results:
    """Return the results of a job; artifacts of more than `inline` bytes are given by URL.

    The result is the completion, None when that is larger.
    """
    result, shown = None, []
    for shape in store.shapes(job_id):
        small = shape.size <= inline
        data = store.content(job_id, shape.name) if small else None
        if data is not None and shape.name == COMPLETION:
            result = msgspec.Raw(data)
        shown.append(show_artifact(job_id, shape, data))
    return Results(result, shown)


def show_artifact(job_id: str, shape: Shape, data: bytes | None) -> views.Artifact:
    """Return an artifact with its data, or with its URL when `data` is None."""
    known = partial(views.Artifact, shape.name, shape.content_type, shape.size)
    if data is None:
        return known(url=f"/jobs/{job_id}/artifacts/{shape.name}")
    if shape.content_type.startswith(("text/", "application/json")):
        return known(data=data.decode(errors="replace"))
    return known(encoding="base64", data=b64encode(data).decode())
