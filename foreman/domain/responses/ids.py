"""The ids of responses: those of their jobs, with a prefix."""

from __future__ import annotations

import re

from foreman.domain.job import JOB_ID

_ID = re.compile(f"resp_({JOB_ID})")


def response_id(job_id: str) -> str:
    """Return the id of a job's response."""
    return f"resp_{job_id}"


def job_id_of(given: str) -> str | None:
    """Return the job of a response's id, or None if it is none of Foreman's."""
    found = _ID.fullmatch(given)
    return found[1] if found else None
