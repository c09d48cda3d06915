"""The calls of Client on many jobs. Generated from async_many.py by `make generate`: do not edit."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any, Literal, Unpack

from foreman.client import following, many_operations, operations, requests
from foreman.client.arguments import checks_arguments
from foreman.client.filters import Filters
from foreman.client.reconnect import RETRY_FOR
from foreman.client.transport import Connection
from foreman.client.types import Job
from foreman.domain.views import Accepted


@checks_arguments
class Many:
    """Many jobs of one Foreman."""

    url: str
    _connection: Connection

    def as_completed(self, job_ids: Iterable[str], *, retry_for: float = RETRY_FOR) -> Generator[Job, None, None]:
        """Iterate over jobs with their answers, each once it has ended, in whichever state: the first to end first.

        After a broken connection, reconnect for up to `retry_for` seconds. Raise NotFound for a job that is not there.
        """
        return self._connection.iterate(following.as_completed(self.url, job_ids, retry_for))

    def each_job(
        self, *, order: Literal["newest", "ended"] | None = None, **filters: Unpack[Filters]
    ) -> Generator[Job, None, None]:
        """Iterate over all jobs that match the filters, newest first, fetched page by page; see `jobs`."""
        return self._connection.iterate(many_operations.each({"order": order, **filters}))

    def find(self, custom_id: str) -> Job | None:
        """Return the newest job with this `custom_id` and its answer; None if there is none."""
        page = self._connection.run(operations.ask(requests.jobs(custom_id=custom_id, limit=1)))
        if not page.jobs:
            return None
        return self._connection.run(operations.ask(requests.job(page.jobs[0].job_id)))

    def submit_once(
        self, payloads: Iterable[Mapping[str, Any]], *, retry_for: float = RETRY_FOR
    ) -> Generator[Accepted, None, None]:
        """Store jobs, each the body of POST /jobs, and yield an answer for each: the same job if it was stored before.

        Jobs are the same by their `custom_id`, or without one by their content. A program that is started again doubles
        nothing. While the queue is full or no answer comes, try again for up to `retry_for` seconds. Raise Refused
        (422, `idempotency_mismatch`) for a `custom_id` that came with another content before.
        """
        return self._connection.iterate(many_operations.submit_once(payloads, retry_for))
