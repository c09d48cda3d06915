"""The calls of AsyncClient on all selected jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Unpack

from foreman.client import line_operations, operations, requests, selection_requests
from foreman.client.arguments import checks_arguments
from foreman.client.filters import Filters
from foreman.client.transport import AsyncConnection
from foreman.client.types import Job, as_job
from foreman.domain.views import Acted, CancelledMany


@checks_arguments
class AsyncSelections:
    """Selected jobs of one Foreman, on asyncio or Trio."""

    _connection: AsyncConnection

    async def cancel_all(self, *, dry_run: bool = False, **filters: Unpack[Filters]) -> CancelledMany:
        """Cancel all selected jobs that have not ended, at most 100,000, and return how many; repeat it for the rest.

        The filters are those of `jobs`. Raise Refused (422) without any. With `dry_run` nothing changes, and `skipped`
        are those that would not be cancelled. `changes` of the outcome is for `uncancel_all`.
        """
        return await self._connection.run(operations.ask(selection_requests.cancel(dry_run, filters)))

    async def uncancel_all(self, changes: str) -> Acted:
        """Queue the jobs again, as they were, that a `cancel_all` ended while they were queued, and return how many.

        Jobs that ran, or were changed since, are skipped.
        """
        return await self._connection.run(operations.ask(selection_requests.uncancel(changes)))

    def export(
        self, *, limit: int | None = None, after: str | None = None, **filters: Unpack[Filters]
    ) -> AsyncGenerator[Job, None]:
        """Iterate over all jobs that the filters of `jobs` select, newest first, at most `limit` of them.

        Jobs that are submitted meanwhile are left out. After an error, go on with `after`, the id of the last job.
        """
        ask = requests.export("ndjson", limit=limit, after=after, **filters)
        return self._connection.iterate(line_operations.lines(self._connection.url, ask, as_job, "jobs"))

    def export_as(
        self,
        form: Literal["ndjson", "csv"],
        *,
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over the bytes of the same jobs as lines of JSON, or as CSV with a head."""
        return self._connection.iterate(
            line_operations.pieces(requests.export(form, limit=limit, after=after, **filters))
        )

    async def retry_all(self, *, dry_run: bool = False, **filters: Unpack[Filters]) -> Acted:
        """Queue all selected jobs that have failed, expired or been cancelled again; see `cancel_all`."""
        return await self._connection.run(operations.ask(selection_requests.act("retry", dry_run, filters)))

    async def delete_all(self, *, dry_run: bool = False, **filters: Unpack[Filters]) -> Acted:
        """Delete all selected jobs that have ended with their data, but lines of batches; see `cancel_all`."""
        return await self._connection.run(operations.ask(selection_requests.act("delete", dry_run, filters)))
