"""A view of the store restricted to the jobs of one owner."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from msgspec.structs import replace

from foreman.domain.batches import Batch, BatchState, FinishedLine
from foreman.domain.files import PIECE, File
from foreman.domain.job import CallerKey, Delivery, Instant, Job, JobEvent, LoadKey
from foreman.domain.nodes import Node
from foreman.domain.scheduling.sequence import Waiting
from foreman.domain.usage import NO_FILTER, NO_PRICES, Depth, Price, Row
from foreman.domain.webhooks.endpoints import AnyDelivery, EndpointDelivery, WebhookEndpoint
from foreman.store.protocol import Reader
from foreman.store.records import ALL, Cursor, Due, Indexing, Order, Selection, Seqs, Shape


class OwnJobs(Reader):
    """A reader that shows only the jobs of one owner.

    Totals over all jobs are unchanged, since positions are counted from them. `line`, `waiting` and `alike` return the
    jobs of all owners; their callers must show none of them that `sees` does not.
    """

    def __init__(self, store: Reader, owner: str) -> None:
        self._store = store
        self._owner = owner

    def sees(self, job: Job | JobEvent | None) -> bool:
        """Return True for a job of the owner, or an event of one."""
        return job is not None and job.owner == self._owner

    def _has(self, job_id: str) -> bool:
        return self.sees(self._store.job(job_id))

    def snapshot(self) -> AbstractContextManager[None]:
        """Run all reads inside on one consistent state."""
        return self._store.snapshot()

    def job(self, job_id: str) -> Job | None:
        """Return a job, or None when there is none."""
        job = self._store.job(job_id)
        return job if self.sees(job) else None

    def jobs(
        self, wanted: Selection = ALL, *, order: Order = Order.NEWEST, after: Cursor | None = None, limit: int
    ) -> list[Job]:
        """Return up to `limit` of the selected jobs after a cursor, in order."""
        if wanted.owner not in (None, self._owner):
            return []
        return self._store.jobs(replace(wanted, owner=self._owner), order=order, after=after, limit=limit)

    def count(self, wanted: Selection, *, most: int) -> int:
        """Return the number of selected jobs, exact up to `most`."""
        if wanted.owner not in (None, self._owner):
            return 0
        return self._store.count(replace(wanted, owner=self._owner), most=most)

    def running(self) -> list[Job]:
        """Return the running jobs, oldest start first."""
        return [job for job in self._store.running() if self.sees(job)]

    def scheduled(self, limit: int, *, owner: str | None = None) -> list[Job]:
        """Return up to `limit` queued jobs with a start time in the future, the soonest first."""
        return self._store.scheduled(limit, owner=self._owner) if owner in (None, self._owner) else []

    def shapes(self, job_id: str) -> list[Shape]:
        """Return a job's artifacts without their data, in order."""
        return self._store.shapes(job_id) if self._has(job_id) else []

    def size(self, job_id: str, name: str | None = None) -> int | None:
        """Return the size of an artifact or payload in bytes, or None when there is none."""
        return self._store.size(job_id, name) if self._has(job_id) else None

    def content(self, job_id: str, name: str | None = None, *, begin: int = 0, size: int | None = None) -> bytes | None:
        """Return the bytes of an artifact or payload, or a part of them."""
        return self._store.content(job_id, name, begin=begin, size=size) if self._has(job_id) else None

    def events(self, *, after: int = 0, job_id: str | None = None, limit: int) -> list[JobEvent]:
        """Return up to `limit` events after the seq `after`, oldest first."""
        found = self._store.events(after=after, job_id=job_id, limit=limit)
        return [event for event in found if self.sees(event)]

    def seqs(self) -> Seqs:
        """Return the limits of the event log."""
        return self._store.seqs()

    def deliveries(self, job_id: str, *, after: int = 0, limit: int | None = None) -> list[Delivery]:
        """Return up to `limit` of a job's deliveries after the seq `after`, oldest first."""
        return self._store.deliveries(job_id, after=after, limit=limit) if self._has(job_id) else []

    def owners_due(self) -> list[str]:
        """Return the owners with due deliveries."""
        return [owner for owner in self._store.owners_due() if owner == self._owner]

    def receivers_due(self, owner: str, *, after: str = "", limit: int) -> list[Due]:
        """Return up to `limit` of an owner's receivers with due deliveries, by name."""
        return self._store.receivers_due(owner, after=after, limit=limit) if owner == self._owner else []

    def due(
        self, owner: str, receiver: str, *, now: Instant, besides: frozenset[int | str] = frozenset(), limit: int
    ) -> list[AnyDelivery]:
        """Return an owner's due deliveries to a receiver, earliest first."""
        if owner != self._owner:
            return []
        return self._store.due(owner, receiver, now=now, besides=besides, limit=limit)

    def rank(self, job: Job, *, most: int) -> int:
        """Return the number of older claimable jobs in the same line, exact up to `most`."""
        return self._store.rank(job, most=most)

    def line(self, key: LoadKey, priority: int, caller: CallerKey, *, skip: int, limit: int) -> list[Job]:
        """Return claimable jobs of a line, the oldest first, after the first `skip`."""
        return self._store.line(key, priority, caller, skip=skip, limit=limit)

    def waiting(self, key: LoadKey, priority: int, caller: CallerKey, *, limit: int) -> list[Waiting]:
        """Return what the order depends on of claimable jobs of a line, the oldest first."""
        return self._store.waiting(key, priority, caller, limit=limit)

    def alike(self, key: LoadKey, priority: int, caller: CallerKey, first: bytes, *, limit: int) -> list[Waiting]:
        """Return claimable jobs of a line whose paths begin with a hash."""
        return self._store.alike(key, priority, caller, first, limit=limit)

    def usage(
        self,
        *,
        step: int,
        begin: int,
        end: int,
        by: str | None,
        limit: int,
        only: Mapping[str, str] = NO_FILTER,
        prices: Mapping[str, Price] = NO_PRICES,
    ) -> list[Row]:
        """Return the usage figures of the steps from `begin` up to `end`."""
        own = {**only, "caller": only.get("caller", self._owner)}
        if own["caller"] != self._owner:
            return []
        return self._store.usage(step=step, begin=begin, end=end, by=by, limit=limit, only=own, prices=prices)

    def depths(self, *, step: int, begin: int, end: int) -> list[Depth] | None:
        """Return the depths of the queue from `begin` up to `end`."""
        return None

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None when there is none."""
        batch = self._store.batch(batch_id)
        return batch if batch is not None and batch.owner == self._owner else None

    def batches(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        states: Collection[BatchState] = (),
        after: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Batch]:
        """Return batches, the newest first."""
        if owner not in (None, self._owner):
            return []
        return self._store.batches(owner=self._owner, kind=kind, states=states, after=after, before=before, limit=limit)

    def batch_by_key(self, owner: str, key: str) -> Batch | None:
        """Return the batch of an owner's idempotency key, or None."""
        return self._store.batch_by_key(owner, key) if owner == self._owner else None

    def open_batches(self, limit: int) -> list[Batch]:
        """Return batches that have not ended, the oldest first."""
        return [batch for batch in self._store.open_batches(limit) if batch.owner == self._owner]

    def finished_lines(self, batch_id: str, *, after: int, limit: int) -> list[FinishedLine]:
        """Return lines of a batch."""
        return self._store.finished_lines(batch_id, after=after, limit=limit) if self.batch(batch_id) else []

    def file(self, file_id: str) -> File | None:
        """Return a file, or None when there is none."""
        file = self._store.file(file_id)
        return file if file is not None and file.owner == self._owner else None

    def files(
        self,
        *,
        owner: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        newest: bool = True,
        limit: int,
    ) -> list[File]:
        """Return files by age."""
        if owner not in (None, self._owner):
            return []
        return self._store.files(owner=self._owner, purpose=purpose, after=after, newest=newest, limit=limit)

    def count_files(self, owner: str) -> int:
        """Return the number of the owner's files and inputs of batches; none of another's."""
        return self._store.count_files(owner) if owner == self._owner else 0

    def file_content(self, file_id: str, *, begin: int = 0, size: int = PIECE) -> bytes | None:
        """Return a part of a file."""
        return self._store.file_content(file_id, begin=begin, size=size) if self.file(file_id) else None

    def blob_content(self, digest: str, begin: int, size: int) -> bytes:
        """Return a part of a blob, of any owner's."""
        return self._store.blob_content(digest, begin, size)

    def unused_blobs(self, limit: int) -> list[str]:
        """Return none: they are nobody's."""
        return []

    def named_blobs(self, keys: Sequence[str]) -> set[str]:
        """Return those keys that rows of blobs have."""
        return self._store.named_blobs(keys)

    def stray_pieces(self) -> list[str]:
        """Return none: they are nobody's."""
        return []

    def webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint, or None when there is none."""
        endpoint = self._store.webhook_endpoint(endpoint_id)
        return endpoint if endpoint is not None and endpoint.owner == self._owner else None

    def webhook_endpoints(
        self, *, owner: str | None = None, after: str | None = None, limit: int
    ) -> list[WebhookEndpoint]:
        """Return webhook endpoints, the newest first."""
        if owner not in (None, self._owner):
            return []
        return self._store.webhook_endpoints(owner=self._owner, after=after, limit=limit)

    def endpoint_delivery(self, event_id: str) -> EndpointDelivery | None:
        """Return the delivery of an event to an endpoint, or None when there is none."""
        delivery = self._store.endpoint_delivery(event_id)
        return delivery if delivery is not None and delivery.owner == self._owner else None

    def endpoint_deliveries(
        self, endpoint_id: str, *, after: str | None = None, subject: str | None = None, limit: int
    ) -> list[EndpointDelivery]:
        """Return deliveries to an endpoint, the newest first."""
        if self.webhook_endpoint(endpoint_id) is None:
            return []
        return self._store.endpoint_deliveries(endpoint_id, after=after, subject=subject, limit=limit)

    def indexing(self) -> Indexing | None:
        """Return how far the index of words is, or None without one."""
        return self._store.indexing()

    def nodes(self) -> list[Node]:
        """Return none: they are the operator's."""
        return []

    def note(self, name: str) -> str | None:
        """Return the value of a note, or None when it is not set."""
        return self._store.note(name)
