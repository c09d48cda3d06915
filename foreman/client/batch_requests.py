"""Requests about batches; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from foreman.client.batch_input import BatchInput
from foreman.client.quoting import fit, quoted
from foreman.client.requests import Ask
from foreman.client.writing import encode, text
from foreman.domain.views import Batched, BatchPage

T = TypeVar("T")

SLOWEST = 2**16  # bytes a second, at which an upload may take its time
LONGEST = 86400.0  # seconds for an upload of unknown length


class Made(msgspec.Struct):
    """The id of a file or batch as OpenAI's API shows it."""

    id: str


def upload(given: BatchInput) -> Ask[Made]:
    """Upload the input of a batch."""
    return _sent(Ask(Made, "/v1/files", "POST", headers={"Content-Type": given.as_form()}), given)


def submit_native(given: BatchInput, name: str, url: str | None, key: str | None) -> Ask[bytes]:
    """Make a batch of bodies of POST /jobs; 422, when lines were rejected, is an answer too."""
    headers = {"Content-Type": "application/x-ndjson"}
    if key is not None:
        headers["Idempotency-Key"] = fit(key, "the idempotency key")
    params = {"batch": text(name)} | ({"state_webhook_url": text(url)} if url is not None else {})
    return _sent(Ask(bytes, "/jobs", "POST", params=params, headers=headers, answers=(422,)), given)


def delete_file(file_id: str) -> Ask[bytes]:
    """Delete an uploaded file."""
    return Ask(bytes, f"/v1/files/{quoted(file_id)}", "DELETE")


def create(file_id: str, endpoint: str, metadata: Mapping[str, str] | None) -> Ask[Made]:
    """Make a batch of an uploaded file."""
    body: dict[str, object] = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
    body |= {"metadata": metadata} if metadata is not None else {}
    return Ask(Made, "/v1/batches", "POST", headers={"Content-Type": "application/json"}, body=encode(body))


def batch(batch_id: str) -> Ask[Batched]:
    """Read a batch."""
    return Ask(Batched, f"/batches/{quoted(batch_id)}")


def batches(state: str | None, limit: int | None, after: str | None) -> Ask[BatchPage]:
    """List a page of batches."""
    wanted = {"state": state, "limit": limit, "after": after}
    return Ask(
        BatchPage, "/batches", params={name: text(str(value)) for name, value in wanted.items() if value is not None}
    )


def cancel(batch_id: str) -> Ask[Batched]:
    """Cancel a batch."""
    return Ask(Batched, f"/batches/{quoted(batch_id)}/cancel", "POST")


def results(batch_id: str) -> Ask[bytes]:
    """Stream the results of a batch as lines."""
    return Ask(bytes, f"/batches/{quoted(batch_id)}/results")


def _sent(ask: Ask[T], given: BatchInput) -> Ask[T]:
    """Return a request with the input as its body."""
    headers, length = dict(ask.headers), given.length
    if length is not None:
        headers["Content-Length"] = str(length)
    held = LONGEST if length is None else length / SLOWEST
    return replace(ask, headers=headers, stream=given, held=held)
