"""The pages at the root and in docs/, and what is in them: fenced blocks, headings, links.

How a fenced block of `sh` or `python` is taken is written on the block itself, where the reader sees it too: without a
title it runs as it stands; a title with "until Ctrl-C" goes on beside what follows it; any other title says where it
belongs (another terminal, another machine), and it does not run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import dedent

from tests.support.foreman import ROOT

FENCE = re.compile(r'^( *)```(\w*)(?: title="(.+?)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\[[^][]*?\]\(([^()\s]+)\)")
IMAGE_IN_LINK = re.compile(r"!\[[^][]*\]\(([^()\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, and the number of its first line."""

    line: int
    language: str
    title: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.title

    @property
    def goes_on(self) -> bool:
        return "until ctrl-c" in self.title.lower()


class Page:
    """A page by its path, relative to the root of the project."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """Without fenced blocks and code."""
        return re.sub(r"`[^`\n]+`", "", FENCE.sub("", self.text))

    def blocks(self, *languages: str) -> list[Block]:
        return [
            Block(self.text.count("\n", 0, found.start()) + 2, found[2], found[3] or "", dedent(found[4]))
            for found in FENCE.finditer(self.text)
            if found[2] in languages
        ]

    @cached_property
    def anchors(self) -> set[str]:
        """What the headings can be linked by: lower case, without punctuation, hyphens for spaces."""
        headings: list[str] = re.findall(r"^#+ (.+)$", FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def links(self) -> Iterator[str]:
        """Where its links and images lead, other sites left out."""
        targets = LINK.findall(self.prose) + IMAGE_IN_LINK.findall(self.prose)
        return (target for target in targets if not re.match(r"\w+:", target))

    def __repr__(self) -> str:
        return self.name


AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
DOCS = [Page(path) for path in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*(Page(ROOT / name) for name in AT_THE_ROOT), *DOCS]


def page(name: str) -> Page:
    return next(page for page in PAGES if page.name == name)
