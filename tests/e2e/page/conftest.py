"""A real browser before real Foremen. Where there is no Chromium the tests of the page are skipped; CI installs one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import a_browser, chromium
from tests.support.foreman import Daemon, Upstream
from tests.support.ports import held_port

TIMEOUT = 30_000  # ms
WIDE = {"width": 1280, "height": 900}
BOX = "box.test"  # another name of this machine, which browsers do not trust without TLS as they do localhost


@pytest.fixture(scope="package")  # while one is open, an event loop runs in this thread, and others cannot
def browser() -> Iterator[Browser]:
    if (found := chromium()) is None:
        pytest.skip("no Chromium on this machine")
    expect.set_options(timeout=TIMEOUT)
    with a_browser(found, [f"--host-resolver-rules=MAP {BOX} 127.0.0.1"]) as browser:
        yield browser


@pytest.fixture
def fresh(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Daemon]]:
    """Start a Foreman with these settings, on a port that it has again after a restart."""
    started: list[Daemon] = []

    def start(**settings: object) -> Daemon:
        given = {"ollama_url": upstream.url, "addr": f"127.0.0.1:{held_port()}", "retry_backoff": 0.05} | settings
        started.append(Daemon(tmp_path / f"data{len(started)}", **given))
        return started[-1].start()

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Daemon]:
    """A Foreman for tests that mind nobody else's jobs."""
    with Daemon(tmp_path_factory.mktemp("shared") / "data", ollama_url=upstream.url) as daemon:
        yield daemon


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test when a script of it fails."""
    errors: list[str] = []
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(TIMEOUT)
        yield page
    assert errors == []
