"""What every test shares: no error goes unnoticed, no setting comes from outside, and data has a place of its own."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from structlog.testing import capture_logs

from tests.support.foreman import HOLDS, Daemon, Upstream, an_upstream, held_the_loop
from tests.support.postgres import ENGINES, Schemas, Servers

# A busy machine is no failure, and each run tries the same examples; the thorough profile looks for new ones.
hypothesis.settings.register_profile("foreman", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("foreman")

LOUD = ("error", "critical", "exception")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have all Foremen that tests start keep their queue elsewhere."""
    parser.addoption("--store", choices=ENGINES, help="keep each Foreman's queue there; without it in SQLite")


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker, and so its children, a core of its own: engines that spin on all of them starve each other. And
    let the children hear Ctrl-C, which a shell has its background jobs ignore, and they theirs.

    Collect no garbage until all tests are known, nor ever what is there then: it stays.
    """
    gc.disable()
    config.addinivalue_line("markers", "long: takes long, and so is run first")
    config.addinivalue_line("markers", "holds_the_loop: what this test does may hold the event loop of its Foreman")
    config.addinivalue_line("markers", "every_store: runs on every engine, in the ordinary suite too")
    config.addinivalue_line(
        "markers", "alone: is about a Foreman alone, with its file and its targets' own names, and runs on SQLite only"
    )
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked on every engine, unless one is asked for."""
    if metafunc.config.getoption("--store") is None and metafunc.definition.get_closest_marker("every_store"):
        metafunc.parametrize("engine", ENGINES, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long: begun last, it keeps one worker at work while the others have nothing left."""
    if config.getoption("--store") not in (None, "sqlite"):
        foreign = [item for item in items if item.get_closest_marker("alone")]
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


class Logged:
    """The log lines of a test."""

    def __init__(self, lines: list[MutableMapping[str, Any]]) -> None:
        self.lines = lines
        self._claimed: list[int] = []

    def events(self, event: str) -> list[MutableMapping[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def claim(self, event: str) -> list[MutableMapping[str, Any]]:
        """The error lines of `event`, which the test expects: there must be one."""
        found = [line for line in self.events(event) if line["log_level"] in LOUD]
        assert found, f"no error {event!r} was logged, only {self.lines}"
        self._claimed += map(id, found)
        return found

    def unclaimed(self) -> list[MutableMapping[str, Any]]:
        return [line for line in self.lines if line["log_level"] in LOUD and id(line) not in self._claimed]


@pytest.fixture(autouse=True)
def logged() -> Iterator[Logged]:
    """What is logged in this process; an error that the test does not claim fails it."""
    with capture_logs() as lines:
        logged = Logged(lines)
        yield logged
    assert not logged.unclaimed(), "an error was logged that the test did not expect"


@pytest.fixture(autouse=True)
def _nobody_holds_the_loop(request: pytest.FixtureRequest, logged: Logged) -> Iterator[None]:
    """No Foreman that a test talks to, in this process or another, works for longer than its watchdog allows."""
    HOLDS.clear()
    yield
    held = [*HOLDS, *filter(held_the_loop, logged.lines)]
    assert not held or request.node.get_closest_marker("holds_the_loop"), f"the loop was held: {held}"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FOREMAN_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The scripted upstream, of all kinds, for tests that mind nobody else's requests."""
    with an_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def databases() -> Iterator[Servers]:
    """PostgreSQL servers, started when a test first asks for one."""
    found = Servers()
    yield found
    found.remove()


@pytest.fixture(scope="session")
def servers(databases: Servers) -> Servers:
    """The same, by a name that some tests have for servers of models."""
    return databases


@pytest.fixture(scope="session", autouse=True)
def engine(request: pytest.FixtureRequest, databases: Servers) -> Iterator[str]:
    """Where Foremen keep their queue. Name it in fixtures of more than one test that start some."""
    name: str = getattr(request, "param", None) or request.config.getoption("--store") or "sqlite"
    if name != "sqlite":
        Daemon.database = Schemas(databases.get(name)).url
    yield name
    Daemon.database = None


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"
