"""The caller's batches, as routes find and cancel them."""

from __future__ import annotations

from collections.abc import Collection

from quart import request

from foreman.domain import views
from foreman.domain.batches import BATCH_ID, Batch, BatchState
from foreman.domain.errors import BatchNotFound
from foreman.http import visibility
from foreman.http.context import context
from foreman.queue.batch_commands import CancelBatch
from foreman.store.protocol import Reader

AT_ONCE = 20  # batches read at once, since each may have a thousand faults
MOST_FAULTS = 5000  # on a page, roughly
RETRIED = "X-Stainless-Retry-Count"  # how often the SDK has sent this request before


def is_repeated() -> bool:
    """Return True when the caller's SDK has sent this request before."""
    return request.headers.get(RETRIED, "0") != "0"


async def find(batch_id: str, kind: str | None = None) -> Batch:
    """Return a batch that the caller may see, of one kind or of any. Raise BatchNotFound."""
    batch = await visibility.read(lambda store: store.batch(batch_id)) if BATCH_ID.fullmatch(batch_id) else None
    if batch is None or batch.is_going or kind not in (None, batch.kind):
        raise BatchNotFound(batch_id)
    return batch


def page(
    store: Reader,
    *,
    kind: str | None = None,
    states: Collection[BatchState] = (),
    after: str | None = None,
    limit: int,
) -> tuple[list[Batch], bool]:
    """Return up to `limit` batches, newest first, fewer where they have many faults; and True if more may follow."""
    found: list[Batch] = []
    while True:
        most = min(AT_ONCE, limit + 1 - len(found))
        some = store.batches(kind=kind, states=states, after=after, limit=most)
        found += some
        if len(found) > limit or len(some) < most:
            return found[:limit], len(found) > limit
        if sum(len(one.errors) for one in found) > MOST_FAULTS:
            return found, True
        after = found[-1].id


async def cancel(batch_id: str, kind: str | None = None) -> Batch:
    """Return a batch of the caller's, whose lines are being cancelled. Raise BatchNotFound or BatchEnded."""
    ctx = context()
    await find(batch_id, kind)
    batch = await ctx.queue.ask(CancelBatch(batch_id, ctx.auth.caller(request)))
    ctx.batches.wake()
    return batch


def shown(batch: Batch) -> views.Batched:
    """Return a batch as Foreman shows it."""
    ctx = context()
    return views.show_batch(batch, ctx.clock(), up=ctx.fleet.any_up and not ctx.outlook.paused)
