"""Take the pictures of the documentation: `python -m tests.pictures` writes docs/pictures/. It needs a Chromium."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import expect

from tests.pictures.box import Box, a_box
from tests.pictures.sessions import record, sessions
from tests.pictures.views import take, views
from tests.support.browser import a_browser, chromium
from tests.support.foreman import ROOT

FOLDER = ROOT / "docs" / "pictures"
MODEL = "smollm2:135m"  # the embedded engine's
TIMEOUT = 30_000  # ms


def main(argv: Sequence[str]) -> int:
    """Take them; return the exit status."""
    parser = ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--only", default="", help="the picture of this name alone")
    only = parser.parse_args(argv).only
    if (browser := chromium()) is None:
        print("there is no Chromium here: install one, then take the pictures again", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    expect.set_options(timeout=TIMEOUT)
    with TemporaryDirectory() as folder, a_box(Path(folder) / "data", model=MODEL) as box:
        _take_views(box, browser, only)
        for name in sessions(box):
            if only in ("", name):
                session = record(box, name)
                file = FOLDER / f"terminal-{name}.svg"
                file.write_text(session.svg(f"foreman {' '.join(sessions(box)[name])}"), encoding="utf-8")
                print(file.relative_to(ROOT))
    return 0


def _take_views(box: Box, browser: str, only: str) -> None:
    with a_browser(browser) as running:
        page = running.new_page()
        for name, view in views(box).items():
            if only in ("", name):
                file = FOLDER / f"{name}.png"
                take(page, box, view, file)
                print(file.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
