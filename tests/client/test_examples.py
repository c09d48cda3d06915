"""Every Python example of the documentation, run as it stands against a real Foreman."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreman.client import Client
from foreman.client.requests import DEFAULT_URL
from tests.support.foreman import Daemon, an_upstream

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"


def examples(page: Path, start: str = "") -> Iterator[object]:
    """Each block of the page from the line `start` to the next section, named after the line on which it begins."""
    text = page.read_text()
    first = text.index(f"{start}\n")
    last = text.find("\n## ", first) if start else -1
    for block in re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE).finditer(text, first):
        if last < 0 or block.start() < last:
            yield pytest.param(block[1], id=f"{page.stem}:{text.count(chr(10), 0, block.start()) + 1}")


def all_examples() -> list[object]:
    found = [*examples(ROOT / "README.md", "### Python"), *examples(PAGE)]
    assert len(found) > 10
    return found


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Foreman that has done a job before."""
    data = tmp_path_factory.mktemp("examples") / "data"
    with an_upstream("--models", "smollm2:135m") as upstream, Daemon(data, ollama_url=upstream.url) as daemon:
        with Client(daemon.url) as client:
            client.wait(client.submit("smollm2:135m", "hello").job_id)
        yield daemon
        assert not daemon.errors


@pytest.mark.parametrize("code", all_examples())
def test_an_example_runs_as_it_stands(
    code: str, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOREMAN_URL", daemon.url)
    exec(compile(code.replace(DEFAULT_URL, daemon.url), "example", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert said.strip()
    if comment := re.search(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE):  # which says what is printed
        assert said.strip() == comment[1]


def test_a_strict_type_checker_accepts_every_call_that_is_shown(tmp_path: Path) -> None:
    """Also those that need more than one Foreman to run: webhooks, the tutorial."""
    shown = [
        block
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        if re.search(r"^(from|import) foreman", block, re.MULTILINE)
    ]
    assert len(shown) > 12
    for number, block in enumerate(shown):
        (tmp_path / f"example_{number}.py").write_text(block)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", *tmp_path.glob("example_*.py")],
        cwd=tmp_path,  # away from settings of ours
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_every_method_of_the_client_is_documented() -> None:
    page = PAGE.read_text()
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"raw"}
    assert {name for name in methods if not re.search(rf"(`|client\.){name}\b", page)} == set()
