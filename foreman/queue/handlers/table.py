"""The handler of each command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foreman.queue.batch_commands import (
    AddBatch,
    AddCheckedBatch,
    AdvanceBatch,
    CancelBatch,
    CheckedBatch,
    DeleteBatch,
    EndBatch,
    FailBatch,
    FeedBatch,
)
from foreman.queue.commands import (
    AddFile,
    Beat,
    Began,
    Cancel,
    Claim,
    Computed,
    Delete,
    DeleteFile,
    DeliveryEnded,
    DropBlobs,
    DropPieces,
    Finished,
    KeepUsage,
    Look,
    Note,
    Pause,
    Prune,
    PruneFiles,
    Redeliver,
    Rescue,
    Resume,
    Retry,
    Submit,
    SubmitMany,
    Withdraw,
)
from foreman.queue.endpoint_commands import AddEndpoint, ChangeEndpoint, DeleteEndpoint, RedeliverEvent, RotateSecret
from foreman.queue.handlers import batches, claims, deliveries, endpoints, files, jobs, maintenance, nodes, selections
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.selection_commands import CancelSelected, DeleteSelected, RetrySelected

HANDLERS: dict[type, Callable[[Ledger, Any], object]] = {
    Submit: jobs.submit,
    SubmitMany: jobs.submit_many,
    Cancel: jobs.cancel,
    Retry: jobs.retry,
    Delete: jobs.delete,
    CancelSelected: selections.cancel,
    RetrySelected: selections.retry,
    DeleteSelected: selections.delete,
    Claim: claims.claim,
    Withdraw: claims.withdraw,
    Began: claims.began,
    Computed: claims.computed,
    Finished: claims.finished,
    Rescue: claims.rescue,
    Pause: claims.pause,
    Resume: claims.resume,
    DeliveryEnded: deliveries.delivery_ended,
    Redeliver: deliveries.redeliver,
    AddEndpoint: endpoints.add,
    ChangeEndpoint: endpoints.change,
    RotateSecret: endpoints.rotate,
    DeleteEndpoint: endpoints.delete,
    RedeliverEvent: endpoints.redeliver,
    Note: maintenance.note,
    Prune: maintenance.prune,
    AddFile: files.add_file,
    DeleteFile: files.delete_file,
    PruneFiles: files.prune_files,
    DropBlobs: files.drop_blobs,
    DropPieces: files.drop_pieces,
    AddBatch: batches.add,
    AddCheckedBatch: batches.add_checked,
    CheckedBatch: batches.checked,
    FailBatch: batches.fail,
    FeedBatch: batches.feed,
    CancelBatch: batches.cancel,
    AdvanceBatch: batches.advance,
    DeleteBatch: batches.delete,
    EndBatch: batches.end,
    KeepUsage: maintenance.keep_usage,
    Beat: nodes.beat,
    Look: nodes.look,
}
