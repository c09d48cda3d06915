"""Too few descriptors: clients cannot have them all, and what needs one waits."""

from __future__ import annotations

import json
import logging
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman.http.server.server_logs import AcceptErrors
from tests.conftest import Logged
from tests.support.api import chat
from tests.support.foreman import Daemon, Upstream, managed, until

FILES = 96


class Few(Daemon):
    """A Foreman that may open few files."""

    command = ("sh", "-c", f'ulimit -n {FILES} && exec "$0" "$@"', sys.executable, "-m", "foreman", "serve")

    def keep(self) -> Kept:
        host, _, port = self.url.removeprefix("http://").partition(":")
        self._kept = Kept(host, int(port))
        return self._kept

    def close(self) -> None:
        if self._kept is not None:
            self._kept.http.close()
        super().close()

    _kept: Kept | None = None

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["event"] == event]

    @contextmanager
    def no_more_files(self) -> Iterator[None]:
        """It may open nothing in this context."""
        limits = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, limits)


class Kept:
    """One connection to it that is kept."""

    def __init__(self, host: str, port: int) -> None:
        self.http = HTTPConnection(host, port, timeout=30)
        self.ask("/healthz")

    def ask(self, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        self.http.request(method, path, sent, headers)
        text = self.http.getresponse().read()
        found: dict[str, Any] = json.loads(text) if text.startswith(b"{") else {"text": text.decode()}
        return found

    def submit(self, text: str) -> str:
        return str(self.ask("/jobs", chat(text))["job_id"])

    def jobs(self) -> list[tuple[str, int, str | None]]:
        return [(job["state"], job["attempt"], job["error_code"]) for job in self.ask("/jobs?limit=50")["jobs"]]


@pytest.fixture
def few(data_dir: Path, request: pytest.FixtureRequest) -> Iterator[Few]:
    settings: dict[str, Any] = {"models": managed("a")}
    if request.param == "upstream":
        upstream: Upstream = request.getfixturevalue("upstream")
        settings = {"openai_url": upstream.url}
    daemon = Few(data_dir, slots=8, **settings)
    with daemon:
        yield daemon


@pytest.mark.parametrize("few", ["upstream", "managed"], indirect=True)
def test_idle_connections_leave_descriptors_for_the_work(few: Few) -> None:
    [warned] = few.events("fewer clients can be connected than max_connections says")
    assert 1 <= warned["connections"] < FILES
    kept = few.keep()
    with ExitStack() as stack:
        for _ in range(4):
            for _ in range(FILES):
                with suppress(OSError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", kept.http.port), timeout=5))
            for n in range(8):
                kept.submit(f"#every=0.01 {n}")
        until(lambda: set(kept.jobs()) == {("done", 1, None)})
        assert kept.ask("/healthz")["status"] == "ok"
    assert not few.events("cannot accept connections, trying again")
    assert 'outcome="shortage"' not in kept.ask("/metrics")["text"]
    assert not few.errors


@pytest.mark.parametrize("few", ["upstream", "managed"], indirect=True)
def test_jobs_that_meet_a_shortage_are_tried_again_and_lose_no_attempt(few: Few) -> None:
    kept = few.keep()
    with few.no_more_files():
        for n in range(8):  # more than there are kept connections to the upstream
            kept.submit(f"#slow=0.1 {n}")
        until(lambda: ("queued", 0, "shortage") in kept.jobs())
        with socket.create_connection(("127.0.0.1", kept.http.port)):
            until(lambda: few.events("cannot accept connections, trying again"))
            assert kept.ask("/healthz")["status"] == "ok"
    until(lambda: kept.jobs() == [("done", 1, None)] * 8)
    assert not few.errors


async def test_that_nobody_can_connect_is_said_once_a_minute(logged: Logged, autojump_clock: MockClock) -> None:
    handler = AcceptErrors()
    record = logging.LogRecord("trio.serve_listeners", logging.ERROR, "", 0, "accept returned EMFILE", (), None)
    for _ in range(630):
        handler.emit(record)
        await trio.sleep(0.1)
    assert len(logged.events("cannot accept connections, trying again")) == 2
