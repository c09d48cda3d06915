"""A real browser before real Foremen. Where there is no Chromium the tests of the page are skipped; CI installs one."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.daemon import Daemon, Upstream

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30_000  # ms
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    expect.set_options(timeout=PATIENCE)
    arguments = ["--no-sandbox"]  # as root, which CI is, it starts no other way
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found, args=arguments) as browser:
        yield browser


@pytest.fixture
def fresh(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Daemon]]:
    """Start a Foreman with these settings, on a port that it has again after a restart."""
    started: list[Daemon] = []

    def start(**settings: object) -> Daemon:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        given = {"ollama_url": upstream.url, "addr": f"127.0.0.1:{port}", "retry_backoff": 0.05} | settings
        started.append(Daemon(tmp_path / f"data{len(started)}", **given))
        return started[-1].start()

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test when a script of it fails."""
    faults: list[str] = []
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_default_timeout(PATIENCE)
        yield page
    assert faults == []
