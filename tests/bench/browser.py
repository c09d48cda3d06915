"""A real browser, and how long its page does not react."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page

from tests.support.browser import a_browser, chromium

TIMEOUT = 180_000  # ms
_WATCH = """
window.tasks = [0];
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(entry => entry.duration)))
    .observe({type: "longtask", buffered: true});
"""  # tasks of less than 50 ms are not reported


def wanted(what: str) -> str | None:
    """The path of a Chromium; where there is none, say that nothing is told of `what`."""
    if (found := chromium()) is None:
        print(f"no Chromium on this machine, so nothing is said of {what}", file=sys.stderr)
    return found


@contextmanager
def watched(path: str, url: str) -> Iterator[Page]:
    """A page at `url` whose feed is connected."""
    with a_browser(path) as browser:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT)
        page.add_init_script(_WATCH)
        page.goto(url)
        page.locator("#link[data-state=live]").wait_for()
        yield page


def longest(page: Page) -> float:
    """Milliseconds of the longest task since the last look."""
    found: float = page.evaluate("() => Math.max(...window.tasks.splice(0, Infinity, 0))")
    return found
