"""The SQL of batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from foreman.domain.batches import Batch, BatchState, Counts, FinishedLine, LineFault
from foreman.domain.errors import JobUnreadable
from foreman.domain.files import BATCH_RESULTS
from foreman.domain.job import Instant, Job
from foreman.store.sql.rows import COLUMNS, read_job
from foreman.store.sql.statements import Statements

FIXED = (
    "id, kind, owner, caller, endpoint, input_file, metadata, created_at, ends_by, output_ttl, name, webhook_url, "
    "idempotency_key"
)
CHANGES = (
    "state, ending, input_blob, ended_at, expires_at, times, model, total, fed, read_to, output_file, error_file, "
    "errors"
)
COUNTS = ", ".join(Counts._fields)
BATCH = f"{FIXED}, {CHANGES}, {COUNTS}"
_SET = ", ".join(f"{name} = ?" for name in CHANGES.split(", "))
_ADD = ", ".join(f"{name} = {name} + ?" for name in Counts._fields)
# By age: the ids of each kind have a prefix of their own.
_OLDER = "(created_at, id) < (SELECT created_at, id FROM batches WHERE id = ?)"
_NEWER = "(created_at, id) > (SELECT created_at, id FROM batches WHERE id = ?)"
_CHANGED = len(FIXED.split(", ")), len(f"{FIXED}, {CHANGES}".split(", "))

_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_times = msgspec.json.Decoder(dict[str, float]).decode
_decode_errors = msgspec.json.Decoder(tuple[LineFault, ...]).decode


class BatchReads:
    """The reads of batches."""

    _sql: Statements

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None when there is none."""
        rows = self._sql.rows(f"SELECT {BATCH} FROM batches WHERE id = ?", (batch_id,))
        return read_batch(rows[0]) if rows else None

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
        """Return up to `limit` batches in any of `states`, beside the one with the id `after` or `before`."""
        tests, values = ["coalesce(expires_at, 1) <> 0"], list[object]()
        for test, value in (("owner = ?", owner), ("kind = ?", kind), (_OLDER, after), (_NEWER, before)):
            if value is not None:
                tests.append(test)
                values.append(value)
        if states:
            tests.append(f"state IN ({', '.join('?' for _ in states)})")
            values.extend(states)
        order = "created_at DESC, id DESC" if before is None else "created_at, id"
        sql = f"SELECT {BATCH} FROM batches WHERE {' AND '.join(tests)} ORDER BY {order} LIMIT ?"
        found = [read_batch(row) for row in self._sql.rows(sql, (*values, limit))]
        return found if before is None else found[::-1]

    def batch_by_key(self, owner: str, key: str) -> Batch | None:
        """Return the batch of an owner's idempotency key, or None."""
        sql = f"SELECT {BATCH} FROM batches WHERE owner = ? AND idempotency_key = ?"
        rows = self._sql.rows(sql, (owner, key))
        return read_batch(rows[0]) if rows else None

    def open_batches(self, limit: int) -> list[Batch]:
        """Return up to `limit` batches that have not ended, the oldest first."""
        sql = f"""SELECT {BATCH} FROM batches INDEXED BY batches_open WHERE ended_at IS NULL
                  ORDER BY created_at, id LIMIT ?"""
        return [read_batch(row) for row in self._sql.rows(sql, (limit,))]

    def finished_lines(self, batch_id: str, *, after: int, limit: int) -> list[FinishedLine]:
        """Return up to `limit` lines of a batch after a line, in order."""
        sql = """SELECT batch_line, id, custom_id, state, error, error_code FROM jobs INDEXED BY jobs_by_batch
                 WHERE batch_id = ? AND batch_line > ? ORDER BY batch_line LIMIT ?"""
        rows = self._sql.rows(sql, (batch_id, after, limit))
        return [FinishedLine(row[0], *(_text(value) for value in row[1:])) for row in rows]  # type: ignore[arg-type]


class BatchWrites(BatchReads):
    """The writes of batches."""

    @abstractmethod
    def _prune(self, job_ids: Sequence[str]) -> None:
        """Delete jobs with all that belongs to them, and have `Seqs.pruned` cover their events."""

    def batch_by_input(self, owner: str, input_file: str) -> Batch | None:
        """Return the owner's newest batch of an input file, or None."""
        sql = f"SELECT {BATCH} FROM batches WHERE input_file = ? AND owner = ? ORDER BY id DESC LIMIT 1"
        rows = self._sql.rows(sql, (input_file, owner))
        return read_batch(rows[0]) if rows else None

    def batch_of(self, job_id: str) -> str | None:
        """Return the batch that a job is a line of, or None."""
        value = self._sql.value("SELECT batch_id FROM jobs WHERE id = ?", (job_id,))
        return None if value is None else str(value)

    def running_lines(self, batch_id: str, limit: int) -> list[Job | JobUnreadable]:
        """Return up to `limit` jobs of a batch that have not ended, or the errors of unreadable ones."""
        sql = f"""SELECT {COLUMNS} FROM jobs INDEXED BY jobs_of_open_batches
                  WHERE batch_id = ? AND completed_at IS NULL LIMIT ?"""
        return [job_or_error(row) for row in self._sql.rows(sql, (batch_id, limit))]

    def add_batch(self, batch: Batch) -> None:
        """Insert a batch."""
        fixed = (batch.id, batch.kind, batch.owner, batch.caller, batch.endpoint, batch.input_file)
        metadata = None if batch.metadata is None else _json(batch.metadata)
        times = (batch.created_at, batch.ends_by, batch.output_ttl)
        native = (batch.name, batch.webhook_url, batch.idempotency_key)
        self._sql.insert("batches", BATCH, [(*fixed, metadata, *times, *native, *_changes(batch), *batch.counts)])

    def put_batch(self, batch: Batch) -> None:
        """Write what changes in the row of a batch, but for its counts."""
        self._sql.run(f"UPDATE batches SET {_SET} WHERE id = ?", (*_changes(batch), batch.id))

    def count_lines(self, counts: Mapping[str, Counts]) -> None:
        """Add to the counts of batches, by their ids."""
        self._sql.run_each(f"UPDATE batches SET {_ADD} WHERE id = ?", [(*some, name) for name, some in counts.items()])

    def prune_batches(self, now: Instant, limit: int) -> int:
        """Delete up to `limit` jobs of a batch past its expiry, and with the last one the batch."""
        sql = "SELECT id FROM batches WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT 1"
        batch_id = self._sql.value(sql, (now,)) if limit else None
        if batch_id is None:
            return 0
        sql = "SELECT id FROM jobs INDEXED BY jobs_by_batch WHERE batch_id = ? ORDER BY batch_line LIMIT ?"
        jobs = [str(job_id) for (job_id,) in self._sql.rows(sql, (batch_id, limit))]
        if jobs:
            self._prune(jobs)
        if len(jobs) == limit:
            # Its key is free: a request that comes now could not be given a batch that nobody sees.
            self._sql.run("UPDATE batches SET expires_at = 0, idempotency_key = NULL WHERE id = ?", (batch_id,))
            return len(jobs)
        results = "DELETE FROM files WHERE purpose = ? AND id IN (SELECT output_file FROM batches WHERE id = ?)"
        self._sql.run(results, (BATCH_RESULTS, batch_id))
        self._sql.run("DELETE FROM batches WHERE id = ?", (batch_id,))
        return len(jobs) + 1


def read_batch(row: tuple[Any, ...]) -> Batch:
    """Return a row of BATCH as a Batch."""
    begin, end = _CHANGED
    id, kind, owner, caller, endpoint, input_file, metadata, created_at, ends_by, output_ttl, *native = row[:begin]
    state, ending, input_blob, ended_at, expires_at, times, model, total, fed, read_to, *files, errors = row[begin:end]
    return Batch(
        id=id,
        kind=kind,
        owner=owner,
        caller=caller,
        endpoint=endpoint,
        state=BatchState(state),
        ending=None if ending is None else BatchState(ending),
        input_file=input_file,
        input_blob=input_blob,
        metadata=None if metadata is None else _decode_metadata(metadata),
        created_at=created_at,
        ends_by=ends_by,
        ended_at=ended_at,
        expires_at=expires_at,
        times=_decode_times(times),
        model=model,
        total=total,
        fed=fed,
        read_to=read_to,
        counts=Counts(*row[end:]),
        output_file=files[0],
        error_file=files[1],
        output_ttl=output_ttl,
        name=native[0],
        webhook_url=native[1],
        idempotency_key=native[2],
        errors=_decode_errors(errors),
    )


def job_or_error(row: tuple[object, ...]) -> Job | JobUnreadable:
    """Return a row of COLUMNS as a Job, or the error of an unreadable one."""
    try:
        return read_job(row)
    except JobUnreadable as error:
        return error


def _changes(batch: Batch) -> tuple[object, ...]:
    """Return the values of CHANGES."""
    return (
        batch.state,
        batch.ending,
        batch.input_blob,
        batch.ended_at,
        batch.expires_at,
        _json(batch.times),
        batch.model,
        batch.total,
        batch.fed,
        batch.read_to,
        batch.output_file,
        batch.error_file,
        _json(batch.errors),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: object) -> str | None:
    """Return text that another program may have made unreadable."""
    if value is None or isinstance(value, str):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
