"""The page while thousands of jobs go by: the longest time for which it does not react, in a real browser."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from playwright.sync_api import Page, sync_playwright

from tests.bench.daemon import Daemon, child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.jobs import JOB, submit_lines

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
JOBS = 10_000
EVENTS = 4 * JOBS  # queued, loading, working, done
TIMEOUT = 180_000  # ms
WATCH = """
window.tasks = [0];
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(entry => entry.duration)))
    .observe({type: "longtask", buffered: true});
"""  # tasks of less than 50 ms are not reported
SCROLL = """
setInterval(() => document.querySelector(".window").scrollBy(0, 8000), 100);
"""  # to the end, which is read page by page


async def page(rounds: int) -> list[Figure]:
    """The longest task of the page's list while JOBS jobs pass through all their states and
    are scrolled through, beside that of opening it."""
    chromium = next((path for path in map(shutil.which, NAMES) if path), None)
    if chromium is None:
        print("no Chromium on this machine, so nothing is said of the page", file=sys.stderr)
        return []
    opened: list[float] = []
    streamed: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            async with child("tests.bench.instant") as target:
                url = f"http://127.0.0.1:{target['port']}"
                async with serving(Path(folder) / "data", ollama_url=url, slots=8) as daemon:
                    before, during = await trio.to_thread.run_sync(_watched, chromium, daemon)
        opened.append(before)
        streamed.append(during)
    return [
        Figure(
            f"page, {JOBS} jobs, longest task", middle(streamed), "ms", "opening it", middle(opened), Wanted("≤", 200)
        )
    ]


def _watched(chromium: str, daemon: Daemon) -> tuple[float, float]:
    """Milliseconds of the longest task: of opening the page, and of what followed."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        page.add_init_script(WATCH)
        page.goto(f"http://127.0.0.1:{daemon.port}/#/jobs")
        page.locator("#link[data-state=live]").wait_for()
        before = _longest(page)
        trio.from_thread.run(submit_lines, daemon, [JOB] * JOBS)
        page.wait_for_function(
            "wanted => Number(document.documentElement.dataset.seq) >= wanted", arg=EVENTS, timeout=TIMEOUT
        )
        page.evaluate(SCROLL)
        page.get_by_text(f"{JOBS:,} jobs", exact=True).wait_for(timeout=TIMEOUT)
        return before, _longest(page)


def _longest(page: Page) -> float:
    longest: float = page.evaluate("() => Math.max(...window.tasks.splice(0, Infinity, 0))")
    return longest
