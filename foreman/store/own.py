"""The store as one owner sees it: of the jobs there are, only their own."""

from __future__ import annotations

from contextlib import AbstractContextManager

from msgspec.structs import replace

from foreman.domain.job import Artifact, Delivery, Instant, Job, JobEvent, LoadKey
from foreman.domain.usage import Depth, Row
from foreman.store.protocol import ALL, ALL_OF_THEM, Cursor, Due, Lane, Order, Reader, Selection, Shape
from foreman.store.sqlite.board import Board


class OwnJobs(Reader):
    """Reads as if there were no jobs but those of one owner.

    What is told of all jobs together stays as it is: positions are counted from it. The one exception that names jobs
    is `line`, whose reader has to leave others' out by `sees`.
    """

    def __init__(self, store: Reader, owner: str) -> None:
        self._store = store
        self._owner = owner

    def sees(self, job: Job | JobEvent | None) -> bool:
        """Return whether this is a job of the owner's, or a change of one."""
        return job is not None and job.owner == self._owner

    def _has(self, job_id: str) -> bool:
        return self.sees(self._store.job(job_id))

    def snapshot(self) -> AbstractContextManager[None]:
        return self._store.snapshot()

    def job(self, job_id: str) -> Job | None:
        job = self._store.job(job_id)
        return job if self.sees(job) else None

    def payload(self, job_id: str) -> bytes | None:
        return self._store.payload(job_id) if self._has(job_id) else None

    def with_payload(self, job_id: str) -> tuple[Job, bytes] | None:
        return self._store.with_payload(job_id) if self._has(job_id) else None

    def jobs(
        self, wanted: Selection = ALL, *, order: Order = Order.NEWEST, after: Cursor | None = None, limit: int
    ) -> list[Job]:
        if wanted.owner not in (None, self._owner):
            return []
        return self._store.jobs(replace(wanted, owner=self._owner), order=order, after=after, limit=limit)

    def running(self) -> list[Job]:
        return [job for job in self._store.running() if self.sees(job)]

    def scheduled(self, limit: int, *, owner: str | None = None) -> list[Job]:
        return self._store.scheduled(limit, owner=self._owner) if owner in (None, self._owner) else []

    def by_idempotency_key(self, owner: str, key: str) -> tuple[Job, bytes] | None:
        return self._store.by_idempotency_key(owner, key) if owner == self._owner else None

    def shapes(self, job_id: str) -> list[Shape]:
        return self._store.shapes(job_id) if self._has(job_id) else []

    def artifact(self, job_id: str, name: str) -> Artifact | None:
        return self._store.artifact(job_id, name) if self._has(job_id) else None

    def size(self, job_id: str, name: str | None = None) -> int | None:
        return self._store.size(job_id, name) if self._has(job_id) else None

    def piece(self, job_id: str, name: str | None, begin: int, size: int) -> bytes | None:
        return self._store.piece(job_id, name, begin, size) if self._has(job_id) else None

    def events(self, *, after: int = 0, job_id: str | None = None, limit: int) -> list[JobEvent]:
        found = self._store.events(after=after, job_id=job_id, limit=limit)
        return [event for event in found if self.sees(event)]

    def seqs(self) -> tuple[int, int]:
        return self._store.seqs()

    def horizon(self) -> int:
        return self._store.horizon()

    def deliveries(self, job_id: str, *, after: int = 0, limit: int = ALL_OF_THEM) -> list[Delivery]:
        return self._store.deliveries(job_id, after=after, limit=limit) if self._has(job_id) else []

    def delivery(self, job_id: str, seq: int) -> Delivery | None:
        return self._store.delivery(job_id, seq) if self._has(job_id) else None

    def callers_due(self) -> list[str]:
        return [caller for caller in self._store.callers_due() if caller == self._owner]

    def receivers_due(self, caller: str, *, after: str = "", limit: int) -> list[Due]:
        return self._store.receivers_due(caller, after=after, limit=limit) if caller == self._owner else []

    def due(
        self, caller: str, receiver: str, *, now: Instant, besides: frozenset[int] = frozenset(), limit: int
    ) -> list[Delivery]:
        if caller != self._owner:
            return []
        return self._store.due(caller, receiver, now=now, besides=besides, limit=limit)

    def event(self, seq: int) -> JobEvent | None:
        event = self._store.event(seq)
        return event if self.sees(event) else None

    def lanes(self) -> list[Lane]:
        return self._store.lanes()

    def board(self) -> Board:
        return self._store.board()

    def rank(self, job: Job, *, most: int) -> int:
        return self._store.rank(job, most=most)

    def line(self, key: LoadKey, priority: int, *, skip: int, most: int) -> list[Job]:
        return self._store.line(key, priority, skip=skip, most=most)

    def usage(
        self, *, step: int, begin: int, end: int, by: str | None, most: int, caller: str | None = None
    ) -> list[Row]:
        if caller not in (None, self._owner):
            return []
        return self._store.usage(step=step, begin=begin, end=end, by=by, most=most, caller=self._owner)

    def depths(self, *, step: int, begin: int, end: int) -> list[Depth] | None:
        return None

    def note(self, name: str) -> str | None:
        return self._store.note(name)
