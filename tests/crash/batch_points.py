"""The points in the life of a batch at which a victim kills itself, by what becomes of the batch."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from foreman.actors import batch_files, batches, blobs
from foreman.domain import batches as batch
from foreman.domain.batch_check import Check
from foreman.queue.commands import Message
from foreman.queue.handlers import batches as batch_handlers
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.store.sql import files
from tests.crash.blob_points import BLOB_POINTS, watch_blobs

FED = 8  # lines at a time: a batch is fed in several steps
READ_LINES = 5  # of them for its files
PIECE, WRITTEN = 512, 256  # bytes

RESULTS = tuple(f"results {point}" for point in BLOB_POINTS)


def committed(*commands: str) -> tuple[str, ...]:
    """Return the points before and after the commit of a transaction with such a command."""
    return tuple(f"{command} {when} commit" for command in commands for when in ("before", "after"))


POINTS: dict[str, tuple[str, ...]] = {
    "completes": (
        *(f"upload {point}" for point in BLOB_POINTS),
        *committed("AddFile", "AddBatch"),
        "checking",  # some lines are checked
        *committed("CheckedBatch"),
        "drafting",  # lines are read that become jobs
        *committed("FeedBatch"),
        "claimed",
        "answered",
        *committed("AdvanceBatch"),
        *RESULTS,
        *committed("EndBatch"),
    ),
    "is cancelled": (*committed("CancelBatch", "AdvanceBatch"), *RESULTS, *committed("EndBatch")),
    "expires": (*committed("AdvanceBatch"), *RESULTS, *committed("EndBatch")),
    "is invalid": committed("FailBatch"),
    "has large answers": tuple(f"artifact {point}" for point in BLOB_POINTS),
    "loses its input": committed("DeleteFile", "DropBlobs"),
    "is pruned": committed("Prune"),
}
PASSAGES = {"FeedBatch": 3, "drafting": 12, "claimed": 12, "answered": 12, "results": 2, "artifact": 2}

_writes = contextvars.ContextVar("writes", default="upload")  # whose bytes are written


def watch_batches(reach: Callable[[str], None]) -> None:
    """Have `reach` called at each point, and let a small batch be one of many steps."""
    for module in (batch, batch_handlers, batches):
        vars(module)["FED"] = FED
    vars(batch_files).update(READ_LINES=READ_LINES, WRITTEN=WRITTEN)
    vars(blobs)["PIECE"] = PIECE
    watch_blobs(lambda point: reach(of_blob(point)))
    check, draft = Check._check, batches.Batches._draft
    write_files, add_whole = vars(batches)["write_files"], vars(files)["add_whole"]

    def checking(self: Any, line: Any) -> None:
        check(self, line)
        reach("checking")

    async def drafting(self: Any, *given: Any) -> Any:
        reach("drafting")
        return await draft(self, *given)

    async def writing(*given: Any) -> Any:
        token = _writes.set("results")
        try:
            return await write_files(*given)
        finally:
            _writes.reset(token)

    def adding(*given: Any) -> Any:
        token = _writes.set("artifact")
        try:
            return add_whole(*given)
        finally:
            _writes.reset(token)

    Check._check = checking  # type: ignore[method-assign]
    batches.Batches._draft = drafting  # type: ignore[method-assign, assignment]
    vars(batches)["write_files"] = writing
    vars(files)["add_whole"] = adding


def of_blob(point: str) -> str:
    """Return the point of the blob that is written here."""
    return f"{_writes.get()} {point}"


class Transaction:
    """The kinds of commands in the open transaction."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        self._reach = reach
        self._kinds: dict[str, None] = {}

    def watch(self) -> None:
        """Follow the commands that are applied from now on."""
        answer = CommandHandlers._answer

        def answering(handlers: CommandHandlers, message: Message[Any]) -> object:
            self._kinds[type(message).__name__] = None
            return answer(handlers, message)

        CommandHandlers._answer = answering  # type: ignore[method-assign, assignment]

    def begin(self) -> None:
        """Forget what an earlier transaction had."""
        self._kinds.clear()

    def reach(self, when: str) -> None:
        """Pass the points before or after a commit."""
        for kind in [*self._kinds]:
            self._reach(f"{kind} {when} commit")
