"""Clients of other projects, unmodified, each as a program of its own; `make sdks` installs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import playwright
import pytest

from tests.support.foreman import LONG, ROOT, Daemon, Upstream, an_upstream

HERE = Path(__file__).parent
PYTHON = ROOT / ".venv-sdks" / "bin" / "python"
MODULES = HERE / "node_modules"
NODE = Path(playwright.__file__).parent / "driver" / "node"  # with the browsers, and newer than many machines' own
MODEL = "smollm2:135m"

Program = subprocess.Popen[str]
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both", "--models", f"a,{MODEL}") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("sdks") / "data"
    with Daemon(folder, ollama_url=upstream.url, slots=4, max_attempts=1) as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def start(tmp_path: Path, daemon: Daemon) -> Iterator[Start]:
    """Start a program, one of `programs/` or the text of one, where nothing is installed but what it needs."""
    started: list[Program] = []

    def program(name: str, text: str | None = None) -> Program:
        of_node = name.endswith(".mjs")
        interpreter, needed = (NODE, MODULES) if of_node else (PYTHON, PYTHON)
        if not needed.exists():
            pytest.skip("the clients of other projects are not installed: make sdks")
        path = tmp_path / name  # Node looks for modules beside a program
        given = text or HERE.joinpath("programs", name).read_text()
        path.write_text(re.sub(r"http://127\.0\.0\.1:\d+", daemon.url, given))
        if of_node:
            tmp_path.joinpath("node_modules").symlink_to(MODULES)
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FOREMAN_URL": daemon.url}
        env |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "unused"}  # no network for a list of prices
        started.append(
            subprocess.Popen(
                [str(interpreter), str(path)],
                cwd=tmp_path,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield program
    for one in started:
        one.kill()
        one.communicate()


def output(program: Program) -> str:
    """Return what a program says; it must end well."""
    said, faults = program.communicate(timeout=2 * LONG)
    assert program.returncode == 0, f"{said}\n{faults}"
    return said


def lines(program: Program) -> list[Any]:
    """Return what a program says in lines of JSON, whatever else it says."""
    return [json.loads(line) for line in output(program).splitlines() if line.startswith(("{", "["))]
