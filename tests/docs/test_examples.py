"""Every example of the README and the pages runs as it stands; see pages.py for which are examples."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from foreman.cli.root import foreman as program
from tests.docs.conftest import TargetHarness
from tests.docs.pages import PAGES, Page

ELSEWHERE = {
    "docs/cli.md",  # about files and terminals of the reader's own; parsed below, and tests/cli has each verb
    "docs/python.md",  # with a real model, in tests/client
}
PROMISED = {  # what a page says that its reader will see, where an exit code does not tell
    "README.md": (r"done +\w{26} +attempt 1",),  # from foreman listen
    "docs/tutorial.md": (
        r'"type":"state".*"state":"done"',  # on the feed
        r"done +\w{26} +attempt 1 +signature good",  # from foreman listen
        r"\ndone w0 w1 w2",  # from the reader's own receiver
    ),
}


def with_examples(*languages: str) -> list[Page]:
    return [page for page in PAGES if page.name not in ELSEWHERE and any(b.runs for b in page.blocks(*languages))]


@pytest.mark.parametrize("page", with_examples("sh"), ids=repr)
def test_the_shell_examples_run(page: Page, harness: TargetHarness) -> None:
    """A fault that curl is answered with is one that the example itself speaks of, in a comment."""
    promised = PROMISED.get(page.name, ())
    ran = harness.sh(page, *promised)
    assert ran.code == 0, ran.output
    examples = "".join(block.text for block in page.blocks("sh") if block.runs)
    expected = {int(status) for status in re.findall(r"#.*?\b([45]\d\d)\b", examples)}
    assert {status for status in ran.statuses if not 200 <= status < 300} <= expected, ran.output
    assert len(ran.statuses) == len(re.findall(r"\bcurl\b", examples)), ran.output
    assert [pattern for pattern in promised if not re.search(pattern, ran.output)] == [], ran.output


@pytest.mark.parametrize("page", with_examples("python"), ids=repr)
def test_the_python_examples_run(page: Page, harness: TargetHarness) -> None:
    ran = harness.python(page)
    assert ran.code == 0, ran.output


def command_lines() -> list[tuple[str, list[str]]]:
    """What stands after `foreman`, with the page that says it; up to a pipe, a redirection or a comment."""
    found: list[tuple[str, list[str]]] = []
    for page in PAGES:
        for block in page.blocks("sh"):
            text = re.sub(r"xargs foreman (\w+)", r"foreman \1 ID", block.text.replace("\\\n", " "))
            lines = re.findall(r"(?:^|[/|;] ?|=\S+ )foreman ([a-z][^|>#\n]*)", text, re.MULTILINE)
            found += [(page.name, shlex.split(line)) for line in lines]
    return found


@pytest.mark.parametrize(
    ("page", "words"), command_lines(), ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_every_command_line_is_one_that_foreman_takes(page: str, words: list[str]) -> None:
    """Its verb, its options and how many arguments; whether a file is there is the reader's business."""
    context = click.Context(program, **program.context_settings)
    command = program.get_command(context, words[0])
    assert command is not None, f"{page}: there is no foreman {words[0]}"
    try:
        command.make_context(words[0], words[1:], parent=context)
    except (click.MissingParameter, click.NoSuchOption):
        raise
    except click.BadParameter:
        pass


def test_the_examples_are_found() -> None:
    """So that a change of how blocks are written cannot make all of this pass empty."""
    assert sum(block.runs for page in PAGES for block in page.blocks("sh")) > 30
    assert sum(block.runs for page in PAGES for block in page.blocks("python")) > 10
    assert len(command_lines()) > 40
