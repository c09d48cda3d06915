"""Visibility: reads of jobs, narrowed to those that the current caller may see."""

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
    """Read from the store as the current caller: with `private_jobs`, only the caller's own jobs exist."""
    narrowed = narrowing()
    try:
        return await context().readers.read(lambda store: question(narrowed(store)))
    except JobUnreadable as error:
        if only_owner() is None:
            raise
        raise JobNotFound(error.job_id) from error  # its owner is unknown


def narrowing() -> Callable[[Reader], Reader]:
    """Return what narrows a store to what the current caller may see, for reads while the answer is sent."""
    caller = context().auth.caller(request)
    return lambda store: store if caller.sees_all else OwnJobs(store, caller.name)


async def find(job_id: str) -> Job:
    """Return a job. Raise JobNotFound when it is missing or hidden from the caller."""
    job = await read(lambda store: store.job(job_id))
    if job is None:
        raise JobNotFound(job_id)
    return job


def only_owner() -> str | None:
    """Return the only owner whose jobs the current caller may see; None when all are visible."""
    caller = context().auth.caller(request)
    return None if caller.sees_all else caller.name


def by(asking: BaseRequestWebsocket) -> Callable[[Job | JobEvent], bool] | None:
    """Return a predicate for the jobs and events that the caller may see; None when all are visible."""
    caller = context().auth.caller(asking)
    return None if caller.sees_all else lambda one: one.owner == caller.name
