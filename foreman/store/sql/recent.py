"""The jobs that were added last, in memory: most are claimed soon, and need not be read back."""

from __future__ import annotations

from foreman.domain.job import Job

MOST_JOBS = 256
MOST_BYTES = 2**20  # of payloads


class Recent:
    """Jobs that can be claimed with their payloads, exactly as they are stored; the oldest are dropped for new ones."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Job, bytes]] = {}
        self._size = 0  # bytes

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._found

    def get(self, job_id: str) -> tuple[Job, bytes]:
        """Return a job and its payload. Raise KeyError."""
        return self._found[job_id]

    def add(self, job: Job, payload: bytes) -> None:
        """Keep a job, unless its payload is too large."""
        if len(payload) > MOST_BYTES:
            return
        self._found[job.id] = job, payload
        self._size += len(payload)
        while self._size > MOST_BYTES or len(self._found) > MOST_JOBS:
            self.drop(next(iter(self._found)))

    def drop(self, job_id: str) -> None:
        """Drop a job: it changes."""
        if found := self._found.pop(job_id, None):
            self._size -= len(found[1])

    def clear(self) -> None:
        """Drop all jobs."""
        self._found.clear()
        self._size = 0
