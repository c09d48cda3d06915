"""The results of a finished job: its result and artifacts, as a job's status and webhooks show them."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.job import Artifact
from foreman.store.protocol import Reader, Shape

COMPLETION = "completion"


def show_results(store: Reader, job_id: str, inline: int) -> dict[str, Any]:
    """Return the keys `result` and `artifacts`; artifacts of more than `inline` bytes are given by URL.

    The result is the completion, null when that is larger.
    """
    shown: dict[str, Any] = {"result": None, "artifacts": []}
    for shape in store.shapes(job_id):
        small = shape.size <= inline
        artifact = store.artifact(job_id, shape.name) if small else None
        if artifact is not None and shape.name == COMPLETION:
            shown["result"] = msgspec.Raw(artifact.data)
        shown["artifacts"].append(show_artifact(job_id, shape, artifact if small else None))
    return shown


def show_artifact(job_id: str, shape: Shape, artifact: Artifact | None) -> dict[str, Any]:
    """Return an artifact with its data, or with its URL when `artifact` is None."""
    shown: dict[str, Any] = {"name": shape.name, "content_type": shape.content_type, "size": shape.size}
    if artifact is None:
        return shown | {"url": f"/jobs/{job_id}/artifacts/{shape.name}"}
    if shape.content_type.startswith(("text/", "application/json")):
        return shown | {"data": artifact.data.decode(errors="replace")}
    return shown | {"encoding": "base64", "data": artifact.data}  # msgspec writes bytes as base64
