"""What the caller of the request at hand may see: reads of jobs go through here, so that no route forgets to ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from quart import request
from quart.wrappers import BaseRequestWebsocket

from foreman.domain.errors import JobNotFound, JobUnreadable
from foreman.domain.job import Job, JobEvent
from foreman.http.context import context
from foreman.store.own import OwnJobs
from foreman.store.protocol import Reader

T = TypeVar("T")


async def read(question: Callable[[Reader], T]) -> T:
    """Ask the store what the caller may know: with `private_jobs`, of their own jobs only."""
    owner = context().auth.only_of(request)
    try:
        return await context().readers.read(lambda store: question(store if owner is None else OwnJobs(store, owner)))
    except JobUnreadable as error:
        if owner is None:
            raise
        raise JobNotFound(error.job_id) from error  # nobody can say whose it is


async def find(job_id: str) -> Job:
    """Return a job that the caller may see. Raises JobNotFound, for others' too."""
    job = await read(lambda store: store.job(job_id))
    if job is None:
        raise JobNotFound(job_id)
    return job


def by(asking: BaseRequestWebsocket) -> Callable[[Job | JobEvent], bool] | None:
    """Return what says whether a job or a change of one may be shown to who asks; None: all may."""
    owner = context().auth.only_of(asking)
    return None if owner is None else lambda one: one.owner == owner
