"""Receivers of one caller that accept and say nothing, in their hundreds: what others notice of them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import trio

from foreman.app import build
from foreman.config.settings import Settings
from foreman.domain.job import State
from foreman.queue.commands import Submit
from foreman.store.protocol import Reader
from foreman.store.readers import READERS
from foreman.store.sqlite.writer import SqliteWriter
from tests.e2e.webhooks.conftest import QUICK
from tests.support.actors import draft
from tests.support.api import NDJSON, chat
from tests.support.foreman import Daemon, Upstream, until
from tests.support.receiver import a_receiver

SILENT = 150
AT_ONCE = 19  # of them may be called
FOR_EVER = {"webhook_timeout": 600}  # seconds: within the test no silent receiver gives its place back
QUEUED = ["queued"]


class Hole:
    """A port that takes connections on all of 127.0.0.0/8 and never reads."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._socket = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=1024))
        self._socket.settimeout(20)
        self.port = self._socket.getsockname()[1]

    def take(self, connections: int) -> None:
        """Wait until so many receivers were called."""
        for _ in range(connections):
            self._stack.enter_context(self._socket.accept()[0])


@contextmanager
def a_hole() -> Iterator[Hole]:
    with ExitStack() as stack:
        yield Hole(stack)


def silent(hole: Hole) -> str:
    """A bulk of jobs, each to a receiver of its own that says nothing."""
    urls = [f"http://127.0.{n // 250}.{n % 250 + 1}:{hole.port}/" for n in range(SILENT)]
    jobs = [chat(state_webhook_url=url, webhook_events=QUEUED) for url in urls]
    return "\n".join(map(json.dumps, jobs))


def caller(daemon: Daemon, token: str) -> httpx2.Client:
    return httpx2.Client(base_url=daemon.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


def test_a_new_receiver_of_another_caller_hears_at_once(upstream: Upstream, tmp_path: Path) -> None:
    settings = QUICK | FOR_EVER | {"token": "alice:one,bob:two"}
    with (
        a_hole() as hole,
        a_receiver() as fresh,
        Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon,
        caller(daemon, "one") as alice,
        caller(daemon, "two") as bob,
    ):
        assert alice.post("/jobs", content=silent(hole), headers=NDJSON).json()["errors"] == []
        hole.take(AT_ONCE)
        assert bob.post("/jobs", json=chat(state_webhook_url=fresh.url, webhook_events=QUEUED)).status_code == 202
        until(lambda: fresh.got)
        daemon.kill()


def test_a_receiver_that_is_well_hears_at_once_beside_silent_ones_of_its_own_caller(
    upstream: Upstream, tmp_path: Path
) -> None:
    with (
        a_hole() as hole,
        a_receiver() as well,
        Daemon(tmp_path / "data", ollama_url=upstream.url, **QUICK | FOR_EVER) as daemon,
    ):
        hook = chat(state_webhook_url=well.url, webhook_events=QUEUED)
        daemon.http.post("/jobs", json=hook)
        until(lambda: well.got)
        assert daemon.http.post("/jobs", content=silent(hole), headers=NDJSON).json()["errors"] == []
        hole.take(AT_ONCE)
        for number in range(2, 5):
            daemon.http.post("/jobs", json=hook)
            until(lambda number=number: len(well.got) == number)  # type: ignore[misc]
        daemon.kill()


def test_a_receiver_that_several_callers_have_is_nobodys_alone(upstream: Upstream, tmp_path: Path) -> None:
    settings = QUICK | FOR_EVER | {"token": "alice:one,bob:two", "webhook_per_receiver": 2}
    with (
        a_receiver() as shared,
        Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon,
        caller(daemon, "one") as alice,
        caller(daemon, "two") as bob,
    ):
        hook = chat(state_webhook_url=shared.url, webhook_events=QUEUED)
        shared.answer = "hang"
        for _ in range(9):
            alice.post("/jobs", json=hook)
        until(lambda: shared.got)
        shared.answer = "204"
        job = bob.post("/jobs", json=hook).json()["job_id"]
        until(lambda: shared.of(job))
        assert len(shared.got) == 2  # what was never answered has one delivery under way, not all that there may be
        daemon.kill()


async def test_reads_of_http_and_of_webhooks_do_not_wait_for_each_other(data_dir: Path) -> None:
    given = {"data_dir": data_dir, "addr": "127.0.0.1:0", "openai_url": "http://127.0.0.1:9"}
    store = SqliteWriter(data_dir / "foreman.db")
    app = build(Settings.model_validate(given), store, time.time)
    over = threading.Event()

    async def hold(*, task_status: trio.TaskStatus[None]) -> None:
        def wait(reader: Reader) -> None:
            trio.from_thread.run_sync(task_status.started)
            over.wait(60)

        await app.context.readers.read(wait)

    with a_receiver() as receiver:
        async with trio.open_nursery() as nursery:  # all threads have ended when it has
            for _ in range(READERS):
                await nursery.start(hold)
            await nursery.start(app.queue.run)
            await nursery.start(app.webhooks.run)
            await app.queue.ask(Submit(draft=draft(webhook_url=receiver.url, webhook_events=(State.QUEUED,))))
            with trio.move_on_after(20):
                while not receiver.got:  # noqa: ASYNC110 - it comes from another thread
                    await trio.sleep(0.01)
            over.set()
            nursery.cancel_scope.cancel()
        await app.context.sender.aclose()
        assert receiver.got
    store.close()
