"""Resolve names of jobs: a whole id, part of one, or a custom id."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from foreman.client import Client, NotFound, Refused
from foreman.client.writing import text

T = TypeVar("T")

WHOLE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")  # a ULID
PART = re.compile(r"[0-9A-HJKMNP-TV-Z]{6,25}")
LONGEST_CUSTOM = 64  # characters
LISTED = 5  # jobs listed for an ambiguous name


def with_job(client: Client, name: str, do: Callable[[str], T]) -> T:
    """Call `do` with the id of the job named `name`, and return its result.

    A name is a whole id, 6 or more characters of its beginning or end, in any case, or a custom id. A whole id needs no
    lookup. Raise Refused when the name matches several jobs, NotFound when it matches none.
    """
    name = text(name)
    whole = name.upper()
    if WHOLE.fullmatch(whole):
        try:
            return do(whole)
        except NotFound as error:
            if error.code != "job_not_found":
                raise
    return do(_find(client, name))


def id_of(client: Client, name: str) -> str:
    """Return the id of the job named `name`. Raise Refused or NotFound as with_job does."""
    return with_job(client, name, client.job).job_id


def _find(client: Client, name: str) -> str:
    found: dict[str, None] = {}
    if PART.fullmatch(name.upper()):
        found |= dict.fromkeys(job.job_id for job in client.jobs(id=name, limit=LISTED + 1).jobs)
    if 0 < len(name) <= LONGEST_CUSTOM:
        wanted = (
            f"{name}*" if name.endswith("*") else name
        )  # a star at the end asks for all with that prefix: those are filtered below
        jobs = client.jobs(custom_id=wanted, limit=LISTED + 1).jobs
        found |= dict.fromkeys(job.job_id for job in jobs if job.custom_id == name)
    if not found:
        raise NotFound(404, "job_not_found", f"job not found: {name}")
    first, *others = found
    if others:
        several = ", ".join([first, *others][:LISTED]) + (" and more" if len(found) > LISTED else "")
        raise Refused(409, "job_ambiguous", f"{name} matches several jobs: {several}", "give more of the id")
    return first
