"""The database from outside: filled before Foreman starts, watched and read while and after it works."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import trio
from ulid import ULID

from foreman.domain.job import Draft, Priority
from foreman.domain.scheduling.prefixes import path
from foreman.queue.commands import SubmitMany
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.protocol import Writer
from foreman.store.sqlite.writer import SqliteWriter
from tests.bench.instant import MODELS
from tests.support.sites import only_site

GROUP = 10_000  # jobs in one transaction
LOOK = 0.1  # seconds between looks at the database
PAYLOAD = {"messages": [{"role": "user", "content": "Say hello, and be brief about it."}]}


def fill(
    data_dir: Path, count: int, models: tuple[str, ...] = MODELS[:1], *, callers: int = 1, prompts: int = 0
) -> None:
    """Queue `count` jobs, spread over `models` and, when there are several, over the priorities.

    They come from so many callers, and their prompts begin in so many ways.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        fill_store(store, count, models, callers=callers, prompts=prompts)
        store.checkpoint()


def fill_store(
    store: Writer, count: int, models: tuple[str, ...] = MODELS[:1], *, callers: int = 1, prompts: int = 0
) -> None:
    """As `fill`, in a store that is open."""
    handlers = CommandHandlers(store, JobRules(max_queue=count), only_site(), clock=time.time)
    for first in range(0, count, GROUP):
        drafts = [_draft(n, models, callers, prompts) for n in range(first, min(first + GROUP, count))]
        handlers.apply([SubmitMany(drafts=drafts)])


def _draft(number: int, models: tuple[str, ...], callers: int, prompts: int) -> Draft:
    model = models[number % len(models)]
    priority = Priority(number // len(models) % 3) if len(models) > 1 else Priority.NORMAL
    payload = json.dumps({"model": model, **PAYLOAD}).encode()
    around = number // len(models) // 3  # how often each model and priority had one
    caller = f"caller-{around % callers}" if callers > 1 else ""
    prefix = path((), f"{number % prompts}") if prompts else b""
    return Draft(
        id=str(ULID()),
        model=model,
        key=model,
        endpoint="/api/chat",
        payload=payload,
        priority=priority,
        owner=caller,
        prefix=prefix,
    )


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as db:
        yield db


async def wait_done(database: Path, count: int, *, within: float) -> None:
    """Until `count` jobs in all are done."""
    with trio.fail_after(within):
        await _wait_for(database, "SELECT count(*) >= ? FROM jobs WHERE state = 'done'", count)


async def wait_ended(database: Path) -> None:
    """Until no job waits or runs."""
    await _wait_for(database, "SELECT count(*) = 0 FROM jobs WHERE state IN ('queued', 'loading', 'working')")


async def _wait_for(database: Path, question: str, *values: object) -> None:
    with reading(database) as db:
        while True:
            if db.execute(question, values).fetchone()[0]:
                return
            await trio.sleep(LOOK)


def jobs_per_second(database: Path, *, after: int = 0) -> float:
    """The pace of the jobs done since event `after`, from the first claim to the last end, by Foreman's own clock."""
    with reading(database) as db:
        done, began, ended = db.execute(
            """SELECT count(*) FILTER (WHERE state = 'done'), min(at) FILTER (WHERE state IN ('loading', 'working')),
               max(at) FILTER (WHERE state = 'done') FROM events WHERE seq > ?""",
            (after,),
        ).fetchone()
    return float(done / (ended - began))


def newest_seq(database: Path) -> int:
    with reading(database) as db:
        return int(db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
