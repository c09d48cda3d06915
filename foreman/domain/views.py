"""The views: the JSON of Foreman's answers, feed and webhooks."""

from __future__ import annotations

from typing import Any

from foreman.domain.errors import ForemanError
from foreman.domain.job import Delivery, Job, JobEvent, State
from foreman.domain.times import rfc3339


def links(job_id: str) -> dict[str, str]:
    """Return the paths of a job's routes."""
    base = f"/jobs/{job_id}"
    return {"self": base, "events": f"{base}/events", "stream": f"{base}/stream", "cancel": f"{base}/cancel"}


def show_accepted(job: Job, position: int | None) -> dict[str, Any]:
    """Return the answer to an accepted submission."""
    return {"job_id": job.id, "state": job.state, "queue_position": position, "links": links(job.id)}


def show_job(job: Job, *, position: int | None = None, eta: float | None = None) -> dict[str, Any]:
    """Return a job as lists show it, without its result and artifacts."""
    return {
        "job_id": job.id,
        "state": job.state,
        "model": job.model,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "completed_at": rfc3339(job.completed_at),
        "attempt": job.attempt,
        "error": job.error,
        "error_code": job.error_code,
        "endpoint": job.endpoint,
        "priority": job.priority.word,
        "max_attempts": job.max_attempts,
        "metadata": job.metadata,
        "custom_id": job.custom_id,
        "owner": job.owner or None,
        "caller": job.owner or None,
        "queue_position": position,
        "eta_seconds": None if eta is None else round(eta, 1),
        "not_before": rfc3339(job.ready_at),
        "expires_at": rfc3339(job.expires_at),
        "links": links(job.id),
    }


def show_event(event: JobEvent) -> dict[str, Any]:
    """Return an event as the feed shows it."""
    return {
        "type": "state",
        "seq": event.seq,
        "job_id": event.job_id,
        "state": event.state,
        "previous_state": event.previous or "",
        "timestamp": rfc3339(event.at),
        "model": event.model,
        "attempt": event.attempt,
        "error": event.error,
        "custom_id": event.custom_id,
    }


def show_webhook(event: JobEvent, job: Job) -> dict[str, Any]:
    """Return the body of a webhook, without `result` and `artifacts`."""
    return {
        "job_id": job.id,
        "state": event.state,
        "previous_state": event.previous or "",
        "timestamp": rfc3339(event.at),
        "model": job.model,
        "attempt": event.attempt,
        "error": event.error if event.state is State.FAILED else None,
        "seq": event.seq,
        "custom_id": job.custom_id,
        "metadata": job.metadata,
    }


def show_delivery(delivery: Delivery) -> dict[str, Any]:
    """Return a webhook delivery as lists show it."""
    return {
        "delivery_id": str(delivery.seq),
        "seq": delivery.seq,
        "url": delivery.url,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "due_at": rfc3339(delivery.due_at),
        "status": delivery.status,
        "error": delivery.error,
        "ended_at": rfc3339(delivery.ended_at),
    }


def show_error(error: ForemanError) -> dict[str, str]:
    """Return the body of an error answer."""
    shown = {"error": str(error), "code": error.code}
    return shown | {"hint": error.hint} if error.hint else shown
