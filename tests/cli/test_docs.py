"""The documentation that comes with the program."""

from __future__ import annotations

import pytest

from foreman.cli.commands import docs
from tests.cli.conftest import ROOT, Invoke


def test_every_page_is_listed_with_its_title(invoke: Invoke) -> None:
    listed = dict(line.split(maxsplit=1) for line in invoke("docs").stdout.splitlines())
    files = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/howto/*.md")]
    assert set(listed) == {file.relative_to(ROOT / "docs").with_suffix("").as_posix() for file in files}
    assert listed["cli"] == "The command line"


@pytest.mark.parametrize("name", ["settings", "settings.md", "docs/settings.md"])
def test_a_page_is_its_markdown_in_a_pipe(invoke: Invoke, name: str) -> None:
    assert invoke("docs", name).stdout == (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_a_page_is_set_for_a_terminal() -> None:
    text = docs._set("# Title\n\nSome *words*.\n\n| a | b |\n|---|---|\n| one | two |\n")
    assert "Title" in text and "words" in text and "*" not in text and "|---|" not in text


@pytest.mark.parametrize(("asked", "meant"), [("setings", "settings"), ("fleet", "howto/fleet"), ("xyzzy", None)])
def test_an_unknown_page_is_an_error_with_the_nearest(invoke: Invoke, asked: str, meant: str | None) -> None:
    result = invoke("docs", asked)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert f"no page {asked}; " + (f"did you mean {meant}?" if meant else "foreman docs lists them") in said
