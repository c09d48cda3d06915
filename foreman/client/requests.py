"""Requests to Foreman and readers of their answers, shared by both clients; no I/O."""

from __future__ import annotations

import math
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from foreman import __version__
from foreman.client.errors import (
    Busy,
    ClientError,
    ConnectFailed,
    NotForeman,
    NotFound,
    Refused,
    Unauthorized,
)
from foreman.client.quoting import fit, query, quoted
from foreman.client.reading import decode
from foreman.client.types import Job, Line, Page, Submitted
from foreman.client.unreadable import told_unreadable
from foreman.client.writing import encode
from foreman.domain.views import (
    Accepted,
    Deliveries,
    Delivery,
    Events,
    Health,
    Me,
    OpenAIModels,
    Paused,
    Queue,
    Reloaded,
    Report,
    Settings,
)

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
LONGEST_RETRY = 3600.0  # seconds; the longest Retry-After that is honoured, from Foreman or a proxy


class Streamed(Protocol):
    """A body that is read while it is sent."""

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes."""

    def async_pieces(self) -> AsyncIterator[bytes]:
        """Yield its bytes."""


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One request; `answer` is the type of its answer."""

    answer: type[T]
    path: str
    method: str = "GET"
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    stream: Streamed | None = None  # the body, in place of `body`
    answers: tuple[int, ...] = ()  # statuses besides 2xx that are answers, not errors
    held: float = 0.0  # seconds for which Foreman may hold the answer
    within: float = math.inf  # seconds after which the caller gives up


@dataclass(frozen=True, slots=True)
class Address:
    """URL and token of a Foreman."""

    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        own = {"User-Agent": f"foreman-client/{__version__}"}
        return own | {"Authorization": f"Bearer {self.token}"} if self.token else own


def address(url: str | None = None, token: str | None = None) -> Address:
    """Return the URL and token given, else those of FOREMAN_URL and FOREMAN_TOKEN; of several tokens the first.

    Raise ConnectFailed for an invalid URL, ArgumentInvalid for a token that no header can hold.
    """
    url = url or os.environ.get("FOREMAN_URL") or DEFAULT_URL
    token = token or os.environ.get("FOREMAN_TOKEN") or ""
    if "://" not in url:
        url = f"http://{url}"
    if not _is_address(url):
        raise ConnectFailed(url, f"not a valid URL, such as {DEFAULT_URL}", nobody=True)
    return Address(url.rstrip("/"), fit(token.partition(",")[0].strip(), "the token"))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        labels = host.encode("idna").split(b".")
        good_port = parts.port is None or parts.port > 0
    except ValueError:  # UnicodeError too
        return False
    return good_port and parts.scheme in ("http", "https") and all(labels) and not re.search(r"[\s\x00-\x1f]", url)


def submit(body: Mapping[str, Any], idempotency_key: str | None = None) -> Ask[Accepted]:
    """Store a job."""
    headers = {"Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = fit(idempotency_key, "the idempotency key")
    return Ask(Accepted, "/jobs", "POST", headers=headers, body=encode(body))


def submit_many(lines: bytes) -> Ask[Submitted]:
    """Store the jobs of NDJSON lines; 422, when all lines were rejected, is an answer too."""
    headers = {"Content-Type": "application/x-ndjson"}
    return Ask(Submitted, "/jobs", "POST", headers=headers, body=lines, answers=(422,))


def job(job_id: str, *, wait: int = 0) -> Ask[Job]:
    """Read a job; `wait` is for how many seconds Foreman may hold the answer until the job has ended."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return Ask(Job, _job_path(job_id), headers=headers, held=wait)


def payload(job_id: str) -> Ask[dict[str, Any]]:
    """Read the request that the target gets."""
    return Ask(dict[str, Any], f"{_job_path(job_id)}/request")


def jobs(**wanted: object) -> Ask[Page]:
    """List a page of jobs; `wanted` are query parameters, None is the same as not given."""
    return Ask(Page, "/jobs", params=query(wanted))


def export(form: str, **wanted: object) -> Ask[bytes]:
    """Stream all jobs that `wanted` selects, as "ndjson" or "csv"."""
    return Ask(bytes, "/jobs/export", params={"format": form, **query(wanted)})


def events(job_id: str, after: int = 0) -> Ask[Events]:
    """List a page of the events of a job after the seq `after`."""
    return Ask(Events, f"{_job_path(job_id)}/events", params={"after": str(after)})


def stream(job_id: str) -> Ask[bytes]:
    """Stream the output of a job as server-sent events; their comments keep the connection alive while it waits."""
    return Ask(bytes, f"{_job_path(job_id)}/stream", headers={"Accept": "text/event-stream"})


def artifact(job_id: str, name: str) -> Ask[bytes]:
    """Read the bytes of an artifact."""
    return Ask(bytes, f"{_job_path(job_id)}/artifacts/{quoted(name)}")


def queue() -> Ask[Queue]:
    """Read the state of the queue."""
    return Ask(Queue, "/queue")


def cancel(job_id: str) -> Ask[Job]:
    """Cancel a job."""
    return Ask(Job, f"{_job_path(job_id)}/cancel", "POST")


def uncancel(job_id: str) -> Ask[Job]:
    """Queue a job again that was cancelled while it was queued, as it was."""
    return Ask(Job, f"{_job_path(job_id)}/uncancel", "POST")


def retry(job_id: str) -> Ask[Job]:
    """Queue an ended job again."""
    return Ask(Job, f"{_job_path(job_id)}/retry", "POST")


def delete(job_id: str) -> Ask[bytes]:
    """Remove an ended job."""
    return Ask(bytes, _job_path(job_id), "DELETE")


def deliveries(job_id: str, after: int = 0) -> Ask[Deliveries]:
    """List a page of the webhook deliveries of a job after the seq `after`."""
    return Ask(Deliveries, f"{_job_path(job_id)}/deliveries", params={"after": str(after)})


def redeliver(job_id: str, delivery_id: str) -> Ask[Delivery]:
    """Send a webhook again."""
    return Ask(Delivery, f"{_job_path(job_id)}/deliveries/{quoted(delivery_id)}/redeliver", "POST")


def pause() -> Ask[Paused]:
    """Pause the queue."""
    return Ask(Paused, "/queue/pause", "POST")


def resume() -> Ask[Paused]:
    """Resume the queue."""
    return Ask(Paused, "/queue/resume", "POST")


def reload() -> Ask[Reloaded]:
    """Have Foreman read its settings again."""
    return Ask(Reloaded, "/reload", "POST")


def waiting(limit: int | None = None) -> Ask[Line]:
    """List the waiting jobs, in the order in which they would start."""
    return Ask(Line, "/queue/jobs", params={} if limit is None else {"limit": str(limit)})


def feed(after: int | None, filters: Mapping[str, Sequence[str]]) -> Ask[bytes]:
    """Stream the events of all jobs, or of those that match the filters, as server-sent events."""
    wanted: dict[str, str | Sequence[str]] = dict(filters)
    if after is not None:
        wanted["after"] = str(after)
    return Ask(bytes, "/events", params=wanted, headers={"Accept": "text/event-stream"})


def usage(
    step: str | None,
    by: str | None,
    start: datetime | None,
    end: datetime | None,
    only: Mapping[Any, str] | None = None,
) -> Ask[Report]:
    """Read the usage report."""
    wanted = {"step": step, "by": by, "from": start, "to": end, **(only or {})}
    return Ask(Report, "/usage", params=query(wanted))


def settings() -> Ask[Settings]:
    """Read the settings in force."""
    return Ask(Settings, "/settings")


def me() -> Ask[Me]:
    """Read who the caller is."""
    return Ask(Me, "/me")


def health() -> Ask[Health]:
    """Read the liveness probe."""
    return Ask(Health, "/healthz")


def ready() -> Ask[bytes]:
    """Read the readiness probe."""
    return Ask(bytes, "/readyz")


class NativeModels(msgspec.Struct):
    """The answer of /api/tags."""

    class Entry(msgspec.Struct):
        """One model."""

        name: str

    models: list[Entry]

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return [entry.name for entry in self.models]


def models() -> Ask[OpenAIModels]:
    """List the models, as OpenAI does."""
    return Ask(OpenAIModels, "/v1/models")


def tags() -> Ask[NativeModels]:
    """List the models, as Ollama does."""
    return Ask(NativeModels, "/api/tags")


def read(ask: Ask[T], url: str, status: int, headers: Mapping[str, str], body: bytes) -> T:
    """Return the answer as `ask.answer`. Raise the ClientError for an error status or an unreadable body."""
    if not 200 <= status < 300 and status not in ask.answers:
        raise error_of(url, status, headers, body)
    if ask.answer is bytes:
        return body  # type: ignore[return-value]
    with told_unreadable(url, ask.path):
        return decode(body, ask.answer)


def error_of(url: str, status: int, headers: Mapping[str, str], body: bytes) -> ClientError:
    """Return the error for an answer other than 2xx; `headers` must ignore the case of names."""
    try:
        found = decode(body, _ErrorBody)
    except msgspec.DecodeError:
        return NotForeman(url, f"status {status}")
    message = found.error if isinstance(found.error, str) else str(found.error.get("message") or f"status {status}")
    said = (status, found.code, message, found.hint)
    if status == 401 or (status == 403 and found.code != "host_not_allowed"):
        return Unauthorized(*said)
    if status == 404:
        return NotFound(*said)
    if status in (429, 503):
        return Busy(*said, retry_after=_seconds(headers.get("retry-after", "")))
    return Refused(*said)


class _ErrorBody(msgspec.Struct):
    error: str | dict[str, Any]
    code: str = ""
    hint: str | None = None


def _job_path(job_id: str) -> str:
    return f"/jobs/{quoted(job_id)}"


def _seconds(text: str) -> float:
    return min(float(text), LONGEST_RETRY) if text.isascii() and text.isdigit() else 5.0
