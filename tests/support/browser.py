"""The Chromium of this machine, for tests, figures and pictures of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

# The first is the least: a Chromium without a window, that draws nothing but the page.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Return the path of a Chromium, or None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def a_browser(path: str, arguments: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser of its own; as root, which CI is, it starts no other way than without its sandbox."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments]) as browser,
    ):
        yield browser
