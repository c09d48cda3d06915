"""GET /jobs/export: all jobs that filters select, streamed in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from quart import Response, request

from foreman.domain import job_csv, views
from foreman.domain.errors import FieldInvalid
from foreman.domain.job import Instant, Job
from foreman.domain.times import rfc3339
from foreman.http import visibility
from foreman.http.auth import TICKET
from foreman.http.body import NDJSON
from foreman.http.context import context
from foreman.http.files import keep_as
from foreman.http.query import LONGEST_PAGE, check_names, choice, whole
from foreman.http.selection import FILTERS, read_cursor, read_selection
from foreman.store.protocol import Reader
from foreman.store.readers import Readers
from foreman.store.records import Cursor, Order, Selection

MOST_EXPORTED = 999_999_999  # jobs


class Format(NamedTuple):
    """A form of an export."""

    content_type: str
    head: bytes
    lines: Callable[[Sequence[Job]], bytes]


def _objects(jobs: Sequence[Job]) -> bytes:
    return b"".join(msgspec.json.encode(views.show_listed(job)) + b"\n" for job in jobs)


FORMATS = {
    "ndjson": Format(NDJSON, b"", _objects),
    "csv": Format("text/csv; charset=utf-8; header=present", job_csv.heads(), job_csv.rows),
}


async def export() -> Response:
    """Answer with a line for each selected job, newest first, also of those that end or are deleted meanwhile.

    Jobs that are submitted meanwhile are not in it, so that it ends. Raise FieldInvalid for a bad query.
    """
    check_names("format", *FILTERS, "limit", "after", TICKET)
    name = request.args.get("format")
    if name is None:
        raise FieldInvalid("format", "", f"must be one of {', '.join(FORMATS)}")
    form: Format = choice("format", name, FORMATS)
    wanted, after = read_selection(), read_cursor(Order.NEWEST)
    most = whole("limit", request.args.get("limit"), MOST_EXPORTED, MOST_EXPORTED)
    pages = _Pages(context().readers, visibility.narrowing(), wanted, form)
    body: AsyncIterator[bytes] | bytes = b""
    if request.method != "HEAD":
        first = await pages.read(after, most)  # while there is still a status
        body = pages.follow(first, most)
    response = Response(body, content_type=form.content_type)
    keep_as(_file_name(context().clock(), name), response)
    response.timeout = None
    if request.method == "HEAD":
        del response.headers["Content-Length"]  # of no body; that of GET is not known
    return response


class _Page(NamedTuple):
    lines: bytes
    jobs: int
    last: Cursor | None  # None on the last page


class _Pages:
    """The pages of an export; one is in memory at a time."""

    def __init__(self, readers: Readers, narrowed: Callable[[Reader], Reader], wanted: Selection, form: Format) -> None:
        self._readers = readers
        self._narrowed = narrowed
        self._wanted = wanted
        self._form = form

    async def read(self, after: Cursor | None, most: int) -> _Page:
        """Return the page after a cursor, of up to `most` jobs. Raise StoreUnavailable."""
        return await self._readers.read(partial(self._page, after, min(most, LONGEST_PAGE)))

    async def follow(self, page: _Page, most: int) -> AsyncIterator[bytes]:
        """Yield the lines of a page, and of those after it, up to `most` jobs."""
        yield self._form.head + page.lines
        left = most - page.jobs
        while page.last is not None and left > 0:
            page = await self._readers.insist(partial(self._page, page.last, min(left, LONGEST_PAGE)))
            left -= page.jobs
            if page.lines:
                yield page.lines

    def _page(self, after: Cursor | None, limit: int, store: Reader) -> _Page:
        found = self._narrowed(store).jobs(self._wanted, after=after, limit=limit)
        last = Cursor(found[-1].id) if len(found) == limit else None
        return _Page(self._form.lines(found), len(found), last)


def _file_name(now: Instant, form: str) -> str:
    digits = (sign for sign in str(rfc3339(now))[:19] if sign not in "-:")
    return f"jobs-{''.join(digits)}Z.{form}"
