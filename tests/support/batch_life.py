"""The process as far as batches go: queue, blobs and the actor over a real store, which may die at any point."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import trio

from foreman.actors.batches import Batches
from foreman.actors.blobs import Blobs
from foreman.domain.batch_kinds.message_requests import lines as message_lines
from foreman.domain.batch_kinds.message_requests import read_requests
from foreman.domain.batches import ENDED, Batch
from foreman.domain.errors import ModelNotFound, TargetRefused
from foreman.domain.intake import Intake, Limits
from foreman.domain.job import Artifact
from foreman.http.new_ids import new_job_id
from foreman.offload import offload
from foreman.queue.actor import QueueActor
from foreman.queue.batch_commands import AddBatch, NewBatch
from foreman.queue.commands import Answered, Claim, Finished, Message, NewFile, Rescue
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.blobs import BlobWriter
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import InlineReaders, inline, now
from tests.support.sites import only_site

T = TypeVar("T")

CHAT = "/v1/chat/completions"
BAD = {3, 13, 23}  # lines that the target refuses
TOTAL = 30  # lines
GOOD = Answered([Artifact(name="completion", content_type="application/json", data=b'{"object":"chat.completion"}')])


class Died(BaseException):
    """The process ends here."""


class Model(NamedTuple):
    name: str


@dataclass
class Models:
    """The models of the targets."""

    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def resolve(self, name: str) -> Model:
        self.asked.append(name)
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if name == "nothing":
            raise ModelNotFound(name)
        return Model(name)


def lines(count: int = TOTAL, model: str = "m", **fields: Any) -> bytes:
    return b"".join(
        json.dumps(
            {"custom_id": str(n), "method": "POST", "url": CHAT, "body": {"model": model, "n": n} | fields}
        ).encode()
        + b"\n"
        for n in range(count)
    )


class Fate:
    """Counts the points that a process passes, and ends it at one of them."""

    def __init__(self, left: int | None = None) -> None:
        """Let it die at the point after `left` others; never without that."""
        self.left = left

    def reach(self) -> None:
        """Pass a point. Raise Died at the last one."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died


class Queue(QueueActor):
    """A queue that dies before or after the nth message of a kind, or of all."""

    doom: tuple[type, str, int] | None = None
    fate = Fate()

    async def ask(self, message: Message[T]) -> T:
        self.fate.reach()
        if self._dies(message, "before"):
            raise Died
        answer = await super().ask(message)
        if self._dies(message, "after"):
            raise Died
        self.fate.reach()
        return answer

    def _dies(self, message: Message[Any], when: str) -> bool:
        if self.doom is None or not isinstance(message, self.doom[0]) or self.doom[1] != when:
            return False
        kind, _, left = self.doom
        self.doom = (kind, when, left - 1)
        return left == 1


@dataclass
class Life:
    """The process as far as batches go."""

    store: SqliteWriter
    queue: Queue
    blobs: Blobs
    batches: Batches
    models: Models
    nursery: trio.Nursery
    served: int = 0
    pace: float = 0  # seconds that a slot works on a line

    async def upload(self, data: bytes) -> str:
        async with self.blobs.upload() as upload:
            await upload.write(data)
            file = await upload.store(NewFile(id=f"file-{new_job_id()}", purpose="batch", filename="a.jsonl"))
        return file.id

    async def add(self, data: bytes) -> str:
        new = NewBatch(id=f"batch_{new_job_id()}", endpoint=CHAT, input_file=await self.upload(data))
        batch = await self.queue.ask(AddBatch(new))
        self.batches.wake()
        return batch.id

    async def add_messages(self, count: int) -> str:
        asked = [{"custom_id": str(n), "params": {"model": "m", "n": n}} for n in range(count)]
        new = NewBatch(id=f"msgbatch_{new_job_id()}", kind="anthropic", endpoint="/v1/messages")
        async with self.blobs.upload() as upload:
            await upload.write(message_lines(read_requests(json.dumps({"requests": asked}).encode()).requests))
            batch = await upload.store_batch(new, count)
        self.batches.wake()
        return batch.id

    def results(self, batch: Batch) -> dict[str, str]:
        """Return the kinds of results by their ids."""
        assert batch.error_file is None
        return {name: one["result"]["type"] for name, one in self.read(batch.output_file).items()}

    async def serve(self) -> None:
        """Work as a slot does."""
        while True:
            work = await self.queue.ask(Claim(loaded=lambda key: True))
            assert work is not None
            await trio.sleep(self.pace)
            number = json.loads(work.payload)["n"]
            error = TargetRefused(400, "no") if number in BAD else None
            await self.queue.ask(Finished(job_id=work.job.id, fence=work.job.fence, outcome=error or GOOD))
            self.served += 1

    async def ended(self, batch_id: str) -> Batch:
        with trio.fail_after(10_000):
            while True:
                batch = self.store.batch(batch_id)
                if batch is not None and batch.state in ENDED:
                    return batch
                await trio.sleep(1)

    def read(self, file_id: str | None) -> dict[str, Any]:
        if file_id is None:
            return {}
        file = self.store.file(file_id)
        assert file is not None
        data = self.store.blob_content(file.blob, 0, file.size)
        found = [json.loads(line) for line in data.decode().splitlines()]
        assert len({one["custom_id"] for one in found}) == len(found)
        return {one["custom_id"]: one for one in found}


@asynccontextmanager
async def a_life(
    folder: Path, doom: tuple[type, str, int] | None = None, fate: Fate | None = None, **rules: Any
) -> AsyncIterator[Life]:
    """The process from its start to its end."""
    store = SqliteWriter(folder / "foreman.db")
    try:
        async with trio.open_nursery() as nursery:
            queue = Queue(CommandHandlers(store, JobRules(**rules), only_site(), clock=now), in_thread=inline)
            queue.doom, queue.fate = doom, fate or Fate()
            readers, models = InlineReaders(store), Models()
            blobs = Blobs(store.blobs, queue, readers, in_thread=inline)
            intake = Intake(models, cast(Any, None), cast(Any, None), Limits(), offload=offload)
            batches = Batches(queue, readers, blobs, intake, clock=now, new_id=new_job_id)
            queue.add_listener(batches.on_commit)
            await nursery.start(queue.run)
            await queue.ask(Rescue())
            await nursery.start(batches.run)
            yield Life(store, queue, blobs, batches, models, nursery)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


def closed(self: Blobs, writer: BlobWriter, stored: bool) -> None:
    """End an upload as a death does: nothing is tidied up."""
    writer.close()
