"""The handlers of batches."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.domain import batches
from foreman.domain.batch_answers import error_artifact
from foreman.domain.batches import CANCELLABLE, CANCELLED_CODE, ENDED, EXPIRED_CODE, FED, MESSAGES, BatchState, Counts
from foreman.domain.errors import (
    BatchEnded,
    BatchNotEnded,
    BatchNotFound,
    FileNotFound,
    IdempotencyMismatch,
    JobNotFound,
    JobUnreadable,
    QuotaExceeded,
)
from foreman.domain.files import BATCH_RESULTS
from foreman.domain.job import Job, State
from foreman.queue.batch_commands import (
    AddBatch,
    AddCheckedBatch,
    AdvanceBatch,
    CancelBatch,
    CheckedBatch,
    DeleteBatch,
    EndBatch,
    Ended,
    FailBatch,
    FeedBatch,
    Line,
    NewBatch,
    Results,
)
from foreman.queue.commands import AddFile
from foreman.queue.handlers import endpoints, files, quotas
from foreman.queue.handlers.jobs import LANES
from foreman.queue.handlers.ledger import Ledger

AT_ONCE = 1000  # lines ended in one transaction


def add(ledger: Ledger, message: AddBatch) -> batches.Batch:
    """Add a batch, or return the one that a repeated request has made."""
    new = message.new
    if known := _repeated(ledger, new, new.input_file):
        return known
    file = ledger.store.file(new.input_file)
    if file is None:
        raise FileNotFound(new.input_file)
    batch = _made(ledger, new, file.id, file.blob)
    ledger.store.add_batch(batch)
    return batch


def add_checked(ledger: Ledger, message: AddCheckedBatch) -> tuple[batches.Batch, bool]:
    """Add a batch with its input; return it, and False when the input was there already."""
    new, blob = message.new, message.input
    name = f"sha256:{blob.digest}"
    if new.idempotency_key and (known := ledger.store.batch_by_key(new.owner, new.idempotency_key)):
        if (known.input_file, known.name, known.webhook_url) != (name, new.name, new.webhook_url):
            raise IdempotencyMismatch
        return known, False
    if known := _repeated(ledger, new, name):
        return known, False
    files.check_quota(ledger, new.owner)
    batch = replace(_made(ledger, new, name, blob.digest), total=message.total, model=message.model)
    batch = _entered(ledger, batch, BatchState.IN_PROGRESS)
    added = ledger.store.add_blob(blob)
    ledger.store.add_batch(batch)
    return batch, added


def _repeated(ledger: Ledger, new: NewBatch, input_file: str) -> batches.Batch | None:
    """Return the batch that a repeated request has made, if this is one."""
    known = ledger.store.batch_by_input(new.owner, input_file) if new.repeated else None
    if (
        known is None
        or known.is_going
        or (known.kind, known.endpoint, known.metadata) != (new.kind, new.endpoint, new.metadata)
    ):
        return None
    return known if ledger.now - known.created_at <= batches.REPEATED_WITHIN else None


def _made(ledger: Ledger, new: NewBatch, input_file: str, digest: str) -> batches.Batch:
    window = ledger.rules.batch_window
    return batches.Batch(
        id=new.id,
        kind=new.kind,
        owner=new.owner,
        caller=new.caller,
        name=new.name,
        webhook_url=new.webhook_url,
        idempotency_key=new.idempotency_key,
        endpoint=new.endpoint,
        input_file=input_file,
        input_blob=digest,
        metadata=new.metadata,
        created_at=ledger.now,
        ends_by=ledger.now + window if window else None,
        output_ttl=new.output_ttl,
    )


def checked(ledger: Ledger, message: CheckedBatch) -> None:
    """Record that the input of a batch is as it has to be."""
    batch = _open(ledger, message.batch_id)
    if batch is None or batch.total is not None:
        return
    batch = replace(batch, total=message.total, model=message.model)
    ledger.store.put_batch(batch if batch.ending else _entered(ledger, batch, BatchState.IN_PROGRESS))


def fail(ledger: Ledger, message: FailBatch) -> None:
    """Fail a batch: at once when its input is wrong, else once its lines have ended."""
    batch = _open(ledger, message.batch_id)
    if batch is None:
        return
    batch = replace(batch, errors=(*batch.errors, *message.errors))
    if batch.total is None:
        ledger.store.put_batch(_ended(ledger, batch, batch.ending or BatchState.FAILED))
    else:
        batch = replace(batch, ending=BatchState.FAILED)
        ledger.store.put_batch(_entered(ledger, batch, BatchState.FINALIZING))


def feed(ledger: Ledger, message: FeedBatch) -> int:
    """Make jobs of the next lines of a batch, and return how many."""
    batch = _open(ledger, message.batch_id)
    if batch is None or batch.state is not BatchState.IN_PROGRESS or batch.fed != message.fed:
        return 0
    taken = _taken(ledger, batch, message)
    if not taken:
        return 0
    for job, line in zip(ledger.add([line.draft for line in taken]), taken, strict=True):
        if refusal := line.draft.refusal:
            ended = ledger.ended(job, State.FAILED, error=str(refusal), code=refusal.code)
            ledger.put(ended, job, [error_artifact(refusal)])
    ledger.store.put_batch(replace(batch, fed=batch.fed + len(taken), read_to=taken[-1].read_to))
    return len(taken)


def _taken(ledger: Ledger, batch: batches.Batch, message: FeedBatch) -> list[Line]:
    """Return the lines for which there is room: half of the queue stays free for others."""
    board = ledger.outlook.board
    room = min(FED - batch.running, max(1, ledger.rules.max_queue // 2) - board.waiting)
    if batch.owner in ledger.rules.quotas:
        try:
            quotas.check_tokens(ledger, batch.owner)
        except QuotaExceeded:
            return []
        room = int(min(room, quotas.room(ledger, batch.owner)))
    taken: list[Line] = []
    keys = set[str]()
    for line in message.lines[: max(0, room)]:
        if line.draft.refusal is None and line.draft.key not in board:
            keys.add(line.draft.key)
            if board.keys + len(keys) > LANES:
                break
        taken.append(line)
    return taken


def cancel(ledger: Ledger, message: CancelBatch) -> batches.Batch:
    """Cancel a batch that has not ended; its lines end in the steps that follow."""
    batch = find(ledger, message)
    if batch.state not in CANCELLABLE:
        raise BatchEnded(batch.state)
    if batch.state is not BatchState.CANCELLING:
        batch = _entered(ledger, replace(batch, ending=BatchState.CANCELLED), BatchState.CANCELLING)
        ledger.store.put_batch(batch)
    return batch


def delete(ledger: Ledger, message: DeleteBatch) -> None:
    """Delete a batch that has ended: nobody sees it any more, and the pruner removes its jobs in steps."""
    batch = find(ledger, message)
    if batch.state not in ENDED:
        raise BatchNotEnded(batch.id, batch.state)
    file = None if batch.output_file is None else ledger.store.file(batch.output_file)
    if file is not None and file.purpose == BATCH_RESULTS:
        ledger.store.delete_files([file.id])
    ledger.store.put_batch(replace(batch, expires_at=0.0))


def find(ledger: Ledger, message: CancelBatch | DeleteBatch) -> batches.Batch:
    """Return a batch that the caller may change. Raise BatchNotFound or AdminRequired."""
    batch = ledger.store.batch(message.batch_id)
    try:
        message.caller.check_owner(message.batch_id, batch.owner if batch else None)
    except JobNotFound:
        raise BatchNotFound(message.batch_id) from None
    if batch is None or batch.is_going:
        raise BatchNotFound(message.batch_id)
    return batch


def advance(ledger: Ledger, message: AdvanceBatch) -> batches.Batch | None:
    """Do what is due for a batch, and return it as it is then."""
    batch = _open(ledger, message.batch_id)
    if batch is None:
        return None
    if batch.ending is None and batch.ends_by is not None and batch.ends_by <= ledger.now:
        batch = _entered(ledger, replace(batch, ending=BatchState.EXPIRED), BatchState.FINALIZING)
        ledger.store.put_batch(batch)
    elif batch.state is BatchState.IN_PROGRESS and batch.counts.ended == batch.total:
        batch = _entered(ledger, replace(batch, ending=BatchState.COMPLETED), BatchState.FINALIZING)
        ledger.store.put_batch(batch)
    if batch.ending is not None and batch.running:
        for job in ledger.store.running_lines(batch.id, AT_ONCE):
            if isinstance(job, JobUnreadable):
                ledger.set_aside(job)
            else:
                _end_line(ledger, job, batch.ending)
    return ledger.store.batch(batch.id)


def _end_line(ledger: Ledger, job: Job, ending: BatchState) -> None:
    code = EXPIRED_CODE if ending is BatchState.EXPIRED else CANCELLED_CODE
    # A running job cannot expire: it is cancelled, and its code says why.
    expires = ending is BatchState.EXPIRED and job.state is State.QUEUED
    ledger.put(
        ledger.ended(job, State.EXPIRED if expires else State.CANCELLED, error=MESSAGES[code], code=code),
        job,
    )


def end(ledger: Ledger, message: EndBatch) -> Ended | None:
    """End a batch with its files, and count the lines that never were jobs."""
    batch = _open(ledger, message.batch_id)
    if batch is None or batch.ending is None or batch.total is None or batch.running:
        return None
    output, output_used = _add_file(ledger, message.output)
    error, error_used = _add_file(ledger, message.error)
    left = batch.total - batch.fed
    match batch.ending:
        case BatchState.CANCELLED:
            ledger.line_counts.add(batch.id, Counts(cancelled=left))
        case BatchState.EXPIRED:
            ledger.line_counts.add(batch.id, Counts(expired=left))
        case _:
            ledger.line_counts.add(batch.id, Counts(failed=left))
    ledger.store.put_batch(_ended(ledger, replace(batch, output_file=output, error_file=error), batch.ending))
    ended = ledger.store.batch(batch.id)
    assert ended is not None
    return Ended(ended, output_used, error_used)


def _add_file(ledger: Ledger, results: Results | None) -> tuple[str | None, bool]:
    if results is None:
        return None, False
    file, used = files.add_file(ledger, AddFile(results.new, results.blob))
    return file.id, used


def _open(ledger: Ledger, batch_id: str) -> batches.Batch | None:
    """Return a batch that has not ended, else None."""
    batch = ledger.store.batch(batch_id)
    return None if batch is None or batch.state in ENDED else batch


def _entered(ledger: Ledger, batch: batches.Batch, state: BatchState) -> batches.Batch:
    return replace(batch, state=state, times={**batch.times, state.value: ledger.now})


def _ended(ledger: Ledger, batch: batches.Batch, state: BatchState) -> batches.Batch:
    """Return the batch as it is once it has ended; webhook endpoints are told of it."""
    endpoints.post(ledger, owner=batch.owner, kind=f"batch.{state.value}", subject=batch.id)
    if batch.webhook_url is not None:
        endpoints.post_to(ledger, batch.webhook_url, owner=batch.owner, kind=f"batch.{state.value}", subject=batch.id)
    lifetime = ledger.rules.job_ttl
    return replace(
        _entered(ledger, batch, state),
        ending=state,
        input_blob=None,
        ended_at=ledger.now,
        expires_at=ledger.now + lifetime if lifetime else None,
        total=batch.total or 0,
    )
