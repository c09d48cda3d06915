"""Jobs as people name them: by the whole id, by part of it, or by an id of their own."""

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
NAMED = 5  # of the jobs that a name may mean


def with_job(client: Client, name: str, do: Callable[[str], T]) -> T:
    """Call `do` with the id of the job that `name` means, and return what it returns.

    A name is a whole id, 6 or more characters of its beginning or end, in capitals or not, or a custom id. A whole id
    costs no question. Raises Refused when the name means several jobs, NotFound when it means none, each with the name.
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
    """Return the id of the job that `name` means; raises what with_job raises."""
    return with_job(client, name, client.job).job_id


def _find(client: Client, name: str) -> str:
    found: dict[str, None] = {}
    if PART.fullmatch(name.upper()):
        found |= dict.fromkeys(job.job_id for job in client.jobs(id=name, limit=NAMED + 1).jobs)
    if 0 < len(name) <= LONGEST_CUSTOM:
        wanted = f"{name}*" if name.endswith("*") else name  # a star at the end asks for all that begin so
        jobs = client.jobs(custom_id=wanted, limit=NAMED + 1).jobs
        found |= dict.fromkeys(job.job_id for job in jobs if job.custom_id == name)
    if not found:
        raise NotFound(404, "job_not_found", f"job not found: {name}")
    first, *others = found
    if others:
        several = ", ".join([first, *others][:NAMED]) + (" and more" if len(found) > NAMED else "")
        raise Refused(409, "job_ambiguous", f"{name} means several jobs: {several}", "give more of the id")
    return first
