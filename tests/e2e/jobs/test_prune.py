"""Jobs whose time is over go with all that hangs on them, and their room goes back to the file system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from foreman.actors import pruner
from foreman.domain.job import Artifact, Draft
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Answered, Claim, Commit, Finished, Message, SubmitMany, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import blobs_of
from tests.support.sites import only_site

T = TypeVar("T")

JOBS = 450  # more than two of the pruner's batches
TTL = 100.0  # seconds
LARGE = bytes(20_000)
TABLES = ("jobs", "payloads", "artifacts", "events", "deliveries")


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield store
    store.close()


def rows(store: SqliteWriter) -> dict[str, int]:
    return {table: store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def finish(handlers: CommandHandlers, first: int, count: int) -> None:
    """That many jobs are submitted and done, each with a large artifact and its webhooks."""
    drafts = [
        Draft(id=f"{n:06}", model="m", key="m", endpoint="/api/chat", payload=LARGE[:2000], webhook_url="http://h/")
        for n in range(first, first + count)
    ]
    artifact = Artifact(name="completion", content_type="application/json", data=LARGE)
    handlers.apply([SubmitMany(drafts=drafts)])
    for _ in range(0, count, 50):
        claims: list[Message[Any]] = [Claim() for _ in range(50)]
        jobs = [work.job for _, work in handlers.apply(claims)[0] if isinstance(work, Work)]
        handlers.apply([Finished(job_id=job.id, fence=job.fence, outcome=Answered([artifact])) for job in jobs])


async def test_what_is_past_its_time_goes_with_all_that_hangs_on_it(store: SqliteWriter, nursery: trio.Nursery) -> None:
    now = 1000.0
    handlers = CommandHandlers(store, JobRules(job_ttl=TTL), only_site(), clock=lambda: now)
    finish(handlers, 0, JOBS)
    newest = store.seqs().newest
    now += TTL - 1
    finish(handlers, JOBS, 50)
    handlers.apply([SubmitMany(drafts=[Draft(id="9", model="m", key="m", endpoint="/api/chat", payload=b"{}")])])
    store.checkpoint()
    before = store.path.stat().st_size
    queue, commits = QueueActor(handlers), list[Commit]()
    queue.add_listener(commits.append)
    await nursery.start(queue.run)

    assert await pruner.sweep(queue, blobs_of(queue, store)) == 0
    assert store.seqs().pruned == 0
    now += 1
    assert await pruner.sweep(queue, blobs_of(queue, store)) == JOBS
    assert rows(store) == {"jobs": 51, "payloads": 51, "artifacts": 50, "events": 201, "deliveries": 200}
    assert store.seqs().pruned == newest
    assert len(commits) > JOBS // pruner.BATCH  # in small batches
    for _ in range(20):
        await pruner.sweep(queue, blobs_of(queue, store))
    assert store.path.stat().st_size < before / 4
    assert store._db.execute("PRAGMA freelist_count").fetchone()[0] == 0
    now += 10 * TTL
    await pruner.sweep(queue, blobs_of(queue, store))
    assert rows(store) == {"jobs": 1, "payloads": 1, "artifacts": 0, "events": 1, "deliveries": 0}
    assert store.seqs() == (newest + 201, newest + 200)
    await queue.close()


async def test_a_ttl_of_zero_keeps_for_ever(store: SqliteWriter, nursery: trio.Nursery) -> None:
    now = 1000.0
    handlers = CommandHandlers(store, JobRules(job_ttl=0), only_site(), clock=lambda: now)
    finish(handlers, 0, 50)
    now = 1e12
    queue = QueueActor(handlers)
    await nursery.start(queue.run)
    assert await pruner.sweep(queue, blobs_of(queue, store)) == 0
    assert rows(store)["jobs"] == 50
    await queue.close()
