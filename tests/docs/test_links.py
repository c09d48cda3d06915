"""Every link of the pages leads somewhere, on the site and where the files are read as they are."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.docs.pages import DOCS, PAGES, Page
from tests.support.foreman import ROOT


@pytest.mark.parametrize("page", PAGES, ids=repr)
def test_its_links_lead_somewhere(page: Page) -> None:
    by_path = {page.path: page for page in PAGES}
    for link in page.links():
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in by_path[target].anchors, f"{page}: {link}"
        if page.name.startswith("docs/"):
            assert target.is_relative_to(ROOT / "docs"), f"{page}: {link} is not on the site"


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/security.md", "CONTRIBUTING.md"])
def test_the_files_that_it_names_are_there(name: str) -> None:
    """By their path, or by the end of it where the page says in which folder it is."""
    files = [path.relative_to(ROOT).as_posix() for top in ("foreman", "tests") for path in (ROOT / top).rglob("*.py")]
    text = next(page for page in PAGES if page.name == name).text
    named = re.findall(r"[\w/]+\.py\b", " ".join(re.findall(r"`([^`\n]+)`", text)))
    assert len(named) > 2
    unknown = {path for path in named if not any(f"/{file}".endswith(f"/{path}") for file in files)}
    assert unknown <= {"tests/http/test_NAME.py"}


def test_the_tree_names_every_module() -> None:
    """Of the folders that have a row, but for those of endpoints and for generated ones."""
    text = next(page for page in PAGES if page.name == "docs/architecture.md").text
    folders = re.findall(r"^\| `([a-z/]+)/`(?:, `([a-z/]+)/`)? \| (?!One module)`", text, re.MULTILINE)
    named = set(re.findall(r"(\w+\.py)`", text))
    modules = [path for row in folders for folder in row if folder for path in (ROOT / "foreman" / folder).glob("*.py")]
    assert len(modules) > 200
    kept = [path for path in modules if not path.name.startswith(("__", "sync_"))]
    assert {path.relative_to(ROOT).as_posix() for path in kept if path.name not in named} == set()


def test_there_are_links_to_judge() -> None:
    assert sum(len(list(page.links())) for page in PAGES) > 100


def test_the_site_has_every_page_once() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    listed = list(pages_of(settings["project"]["nav"]))
    assert len(listed) == len(set(listed))
    assert {page.name.removeprefix("docs/") for page in DOCS} == set(listed)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


def test_the_start_page_leads_to_every_other_and_its_list_to_every_decision() -> None:
    pages = {page.name.removeprefix("docs/") for page in DOCS}
    decisions = {page for page in pages if page.startswith("adr/")} - {"adr/index.md"}
    assert linked_from("docs/index.md") == pages - decisions - {"index.md"}
    assert {f"adr/{page}" for page in linked_from("docs/adr/index.md")} == decisions


def linked_from(name: str) -> set[str]:
    page = next(page for page in PAGES if page.name == name)
    return set(re.findall(r"\]\(([^)#]+\.md)\)", page.text))
