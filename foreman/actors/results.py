"""The results of a finished job: its result and artifacts, as a job's status and webhooks show them."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.store.protocol import Reader, Shape

COMPLETION = "completion"


def show_results(store: Reader, job_id: str, inline: int) -> dict[str, Any]:
    """Return the keys `result` and `artifacts`; artifacts of more than `inline` bytes are given by URL.

    The result is the completion, null when that is larger.
    """
    shown: dict[str, Any] = {"result": None, "artifacts": []}
    for shape in store.shapes(job_id):
        small = shape.size <= inline
        data = store.content(job_id, shape.name) if small else None
        if data is not None and shape.name == COMPLETION:
            shown["result"] = msgspec.Raw(data)
        shown["artifacts"].append(show_artifact(job_id, shape, data))
    return shown


def show_artifact(job_id: str, shape: Shape, data: bytes | None) -> dict[str, Any]:
    """Return an artifact with its data, or with its URL when `data` is None."""
    shown: dict[str, Any] = {"name": shape.name, "content_type": shape.content_type, "size": shape.size}
    if data is None:
        return shown | {"url": f"/jobs/{job_id}/artifacts/{shape.name}"}
    if shape.content_type.startswith(("text/", "application/json")):
        return shown | {"data": data.decode(errors="replace")}
    return shown | {"encoding": "base64", "data": data}  # msgspec writes bytes as base64
