"""The pictures of the documentation can be taken: each view and session is there, complete, and has its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page

from tests.pictures.box import Box, a_box
from tests.pictures.sessions import record, sessions
from tests.pictures.views import take, views
from tests.support.foreman import ROOT, Upstream

FOLDER = ROOT / "docs" / "pictures"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("box") / "data"
    with a_box(folder, model="a", long="#chunks=5000 #every=0.2 x", ollama_url=upstream.url) as box:
        yield box


def test_each_view_has_its_picture(page: Page, box: Box, tmp_path: Path) -> None:
    for name, view in views(box).items():
        take(page, box, view, tmp_path / f"{name}.png")
    page.goto(box.daemon.url)
    menu = {link.get_attribute("href") or "" for link in page.locator("nav a").all()}
    assert menu <= {view.address or "#/" for view in views(box).values()}
    assert {file.stem for file in FOLDER.glob("*.png")} == views(box).keys()


def test_a_session_is_a_picture_that_plays_it(box: Box) -> None:
    svg = record(box, "jobs").svg("foreman jobs")
    drawn = ElementTree.fromstring(svg)
    assert "Classify this review" in "".join(drawn.itertext())
    assert {file.name for file in FOLDER.glob("*.svg")} == {f"terminal-{name}.svg" for name in sessions(box)}


def test_each_picture_is_shown_on_a_page() -> None:
    shown = {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for name in re.findall(r"pictures/([\w.-]+)", page.read_text(encoding="utf-8"))
    }
    assert shown == {file.name for file in FOLDER.iterdir()}
