"""The engines under test: each is opened through a factory, so that another one runs through the same suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from foreman.domain.job import Draft, Job, State
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from foreman.store.protocol import Reader, Writer
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.postgres import ENGINES, Servers
from tests.support.queue import writing


class Store(Writer, Protocol):
    """What every engine gives beyond the protocol."""

    def reader(self) -> Reader: ...

    def close(self) -> None: ...


@pytest.fixture(params=ENGINES)
def open_store(request: pytest.FixtureRequest, data_dir: Path, servers: Servers) -> Iterator[Callable[[], Store]]:
    """Opens the store; called again, it closes the one before and opens the same data anew."""
    with ExitStack() as ends:
        if request.param == "sqlite":
            yield from opening(lambda: SqliteWriter(data_dir / "foreman.db"))
        else:
            server = servers.get(request.param)
            url = server.url(ends.enter_context(server.schema()))
            yield from opening(lambda: PostgresWriter(url, Identity("node", "n")))


def opening(engine: Callable[[], Store]) -> Iterator[Callable[[], Store]]:
    """Yields what opens an engine; called again, it closes the one before."""
    opened: list[Store] = []

    def again() -> Store:
        if opened:
            opened.pop().close()
        opened.append(engine())
        return opened[0]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


def draft(number: int | str = 1, **fields: Any) -> Draft:
    """A draft whose id sorts by its number."""
    plain: dict[str, Any] = {"model": "m", "endpoint": "/api/chat", "payload": b'{"model":"m"}'}
    plain |= {"id": f"{number:0>3}", "key": fields.get("model", "m")}
    return Draft(**(plain | fields))


def add(store: Writer, *drafts: Draft, now: float = 100) -> list[Job]:
    """Submit the drafts; their jobs are read back as they were handed over."""
    with writing(store, now) as ledger:
        jobs = ledger.add(drafts)
    assert [store.job(job.id) for job in jobs] == jobs
    return jobs


def put(store: Writer, job: Job, now: float = 100, **fields: Any) -> Job:
    """Change the job and write it."""
    with writing(store, now) as ledger:
        return ledger.put(replace(job, **fields), job)


def claimed(store: Writer, job: Job, now: float = 100) -> Job:
    return put(store, job, now, state=State.LOADING, attempt=job.attempt + 1, fence=job.fence + 1, started_at=now)


def done(store: Writer, job: Job, now: float = 100, expires_at: float | None = None) -> Job:
    working = put(store, claimed(store, job, now), now, state=State.WORKING)
    return put(store, working, now, state=State.DONE, completed_at=now, expires_at=expires_at)
