"""The handlers of files and blobs."""

from __future__ import annotations

from foreman.domain.errors import FileNotFound, JobNotFound, QuotaExceeded
from foreman.domain.files import DROPPED, File
from foreman.queue.commands import AddFile, DeleteFile, DropBlobs, DropPieces, PruneFiles
from foreman.queue.handlers.ledger import Ledger

A_DAY = 86400.0  # seconds: a quota of files is freed by deleting some, by their expiry, or by the end of batches


def add_file(ledger: Ledger, message: AddFile) -> tuple[File, bool]:
    """Add a file whose bytes are stored; return it, and False when its bytes were there already."""
    new, blob, now = message.new, message.blob, ledger.now
    if new.counted:
        check_quota(ledger, new.owner)
    lifetime = ledger.rules.file_ttl if new.lifetime is None else new.lifetime
    file = File(
        id=new.id,
        owner=new.owner,
        purpose=new.purpose,
        filename=new.filename,
        size=blob.size,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
        blob=blob.digest,
    )
    return file, ledger.store.add_file(file, blob)


def delete_file(ledger: Ledger, message: DeleteFile) -> None:
    """Delete a file that the caller may change."""
    file = ledger.store.file(message.file_id)
    try:
        message.caller.check_owner(message.file_id, file.owner if file else None)
    except JobNotFound:
        raise FileNotFound(message.file_id) from None
    if file is None:
        raise FileNotFound(message.file_id)
    ledger.store.delete_files([file.id])


def prune_files(ledger: Ledger, message: PruneFiles) -> int:
    """Delete files past their expiry, and return their number."""
    expired = ledger.store.expired_files(ledger.now, message.most)
    ledger.store.delete_files(expired)
    return len(expired)


def drop_blobs(ledger: Ledger, message: DropBlobs) -> list[str]:
    """Delete the rows of blobs that nothing has, and return where their bytes are."""
    return ledger.store.drop_blobs(message.digests)


def drop_pieces(ledger: Ledger, message: DropPieces) -> int:
    """Delete some pieces of a blob without a row, and return their number."""
    return ledger.store.drop_pieces(message.key, DROPPED)


def check_quota(ledger: Ledger, owner: str) -> None:
    """Raise QuotaExceeded unless a token may keep another file; the input of an open batch is one."""
    quota = ledger.rules.quotas.get(owner)
    if quota is None or quota.max_files is None:
        return
    count = ledger.store.count_files(owner)
    if count >= quota.max_files:
        files = "file or input of a batch" if count == 1 else "files or inputs of batches"
        raise QuotaExceeded(f"{owner} has {count} {files}", quota.max_files, A_DAY)
