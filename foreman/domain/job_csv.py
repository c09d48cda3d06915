"""Jobs as lines of CSV (RFC 4180) that spreadsheets take for text, never for formulas; no I/O."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

import msgspec

from foreman.domain.job import Job
from foreman.domain.times import rfc3339

COLUMNS = (
    *("job_id", "state", "model", "endpoint", "priority", "created_at", "started_at", "completed_at"),
    *("attempt", "max_attempts", "target", "owner", "caller", "custom_id", "batch_id", "metadata"),
    *("prompt_excerpt", "prompt_tokens", "cached_tokens", "answer_tokens", "first_token_seconds"),
    *("tokens_per_second", "error_code", "error", "not_before", "expires_at"),
)
_INNER = re.compile(r"([;\t]\s*)(?=[=+\-@])")  # where a cell begins for a spreadsheet with another separator
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what makes spreadsheets compute a cell, or skip to what does


def heads() -> bytes:
    """Return the line of the names of the columns."""
    return _lines([COLUMNS])


def rows(jobs: Iterable[Job]) -> bytes:
    """Return a line for each job; metadata are JSON, what is not known is empty.

    A text that a spreadsheet could take for a formula begins with an apostrophe (OWASP, CSV injection).
    """
    return _lines(tuple(map(_cell, _row(job))) for job in jobs)


def _row(job: Job) -> tuple[object, ...]:
    used = job.usage
    counts = (
        (None,) * 5
        if used is None
        else (
            used.prompt_tokens,
            used.cached_tokens,
            used.answer_tokens,
            used.first_token_seconds,
            used.tokens_per_second,
        )
    )
    return (
        *(job.id, job.state.value, job.model, job.endpoint, job.priority.word),
        *map(rfc3339, (job.created_at, job.started_at, job.completed_at)),
        *(job.attempt, job.max_attempts, job.target, job.owner, job.caller or job.owner, job.custom_id, job.batch_id),
        None if job.metadata is None else msgspec.json.encode(job.metadata).decode(),
        *(job.excerpt, *counts, job.error_code, job.error),
        *map(rfc3339, (job.ready_at, job.expires_at)),
    )


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n")  # which ends a line
    text = _INNER.sub(r"\1'", text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(cells: Iterable[Iterable[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(cells)
    return written.getvalue().encode(errors="replace")
