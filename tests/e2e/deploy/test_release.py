"""What a release consists of: the workflows, the install script, the formula, the composition, the checksums."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from foreman import __version__
from scripts import dist_check, release
from tests.support.foreman import ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXECUTABLE = "foreman-linux-x86_64"
SAYS_ITS_VERSION = f"#!/bin/sh\necho foreman {__version__}\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The folder of a release, and where it can be fetched."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / f"foreman_llm-{__version__}.tar.gz").write_bytes(b"source")
    for name in (EXECUTABLE, "foreman-slim-linux-arm64"):
        (folder / name).write_text(SAYS_ITS_VERSION)
    with serving(folder) as url:
        release.write(folder, url, "registry.example/foreman")
        yield folder, url


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Machine:
    """A computer of any kind on which the install script runs."""

    def __init__(self, folder: Path, kind: str = "Linux", machine: str = "x86_64", user: int = 1000) -> None:
        self.home = folder / "home"
        self.tools = folder / "tools"
        self.tools.mkdir()
        answers = {"uname": f'[ "$1" = -s ] && echo {kind} || echo {machine}', "id": f"echo {user}"}
        for name, answer in answers.items():
            (self.tools / name).write_text(f"#!/bin/sh\n{answer}\n")
            (self.tools / name).chmod(0o755)

    def install(self, script: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.tools}:{os.environ['PATH']}", "HOME": str(self.home), **variables}
        return subprocess.run(
            ["/bin/sh"], input=script.read_text(), env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def installed(self) -> list[Path]:
        return [file for file in self.home.rglob("*") if file.is_file()]


def test_the_workflows_and_scripts_pass_their_linters() -> None:
    lint = ["zizmor", "--offline", "--quiet", "--no-progress", "--strict-collection", "--min-severity", "medium"]
    check = ["shellcheck", "packaging/install.sh", ".ci/run"]
    for program, *words in ([*lint, ".github/workflows"], check):
        command = [str(BIN / program), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_to_one_commit() -> None:
    used = [line for file in WORKFLOWS for line in re.findall(r"uses: (\S+.*)", file.read_text()) if line[0] != "."]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in used)
    assert len(set(used)) == len({line.partition("@")[0] for line in used})


def test_every_supported_python_is_tested() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    assert tuple(jobs["tests"]["strategy"]["matrix"]["python"]) == dist_check.PYTHONS
    setup = next(step for step in jobs["packages"]["steps"] if "python-version" in step.get("with", {}))
    assert set(setup["with"]["python-version"].split()) == set(dist_check.PYTHONS)


def test_its_files_are_filled_in_and_summed(published: tuple[Path, str]) -> None:
    folder, url = published
    for name in ("install.sh", "foreman.rb"):
        assert not re.search(r"@[A-Z]", (folder / name).read_text())
    formula = (folder / "foreman.rb").read_text()
    assert f'url "{url}/foreman_llm-{__version__}.tar.gz"' in formula
    assert f'sha256 "{hashlib.sha256(b"source").hexdigest()}"' in formula
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {file.name for file in folder.iterdir()} - {"SHA256SUMS"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == found for name, found in sums.items())


def test_its_composition_needs_no_source(published: tuple[Path, str]) -> None:
    text = (published[0] / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["foreman"]
    assert service["image"] == f"registry.example/foreman:{__version__}"
    assert "build" not in service and "config/" not in text


def test_the_script_installs_for_this_user_and_says_what_is_next(published: tuple[Path, str], tmp_path: Path) -> None:
    here = Machine(tmp_path)
    done = here.install(published[0] / "install.sh")
    assert (done.returncode, done.stderr) == (0, "")
    program = here.home / ".local" / "bin" / "foreman"
    assert here.installed() == [program]
    assert os.access(program, os.X_OK)
    assert done.stdout.splitlines()[1:] == [
        f"Installed foreman {__version__} as {program}",
        f"Next: {program} demo    ({program.parent} is not in PATH)",
    ]


def test_the_script_takes_another_folder_machine_and_kind(published: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "everyone"
    path = f"{tmp_path / 'tools'}:{folder}:{os.environ['PATH']}"
    done = Machine(tmp_path, machine="aarch64", user=0).install(
        published[0] / "install.sh", SLIM="1", BIN_DIR=str(folder), PATH=path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "Next: foreman demo"
    assert [file.name for file in folder.iterdir()] == ["foreman"]


@pytest.mark.parametrize(
    ("machine", "variables", "said"),
    [
        ({"user": 0}, {}, "without sudo"),
        ({"kind": "Darwin"}, {}, "no executable for Darwin; run: pipx install 'foreman-llm[embedded]'"),
        ({"machine": "riscv64"}, {}, "no executable for riscv64"),
        ({"machine": "aarch64"}, {}, "SHA256SUMS does not name foreman-linux-arm64"),
        ({}, {"RELEASE_URL": "http://box.example"}, "must begin with https://"),
        ({}, {"RELEASE_URL": "http://127.0.0.1:9"}, "cannot fetch http://127.0.0.1:9/SHA256SUMS"),
    ],
)
def test_the_script_says_why_it_installs_nothing(
    published: tuple[Path, str], tmp_path: Path, machine: dict[str, str], variables: dict[str, str], said: str
) -> None:
    here = Machine(tmp_path, **machine)  # type: ignore[arg-type]
    done = here.install(published[0] / "install.sh", **variables)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert here.installed() == []


@pytest.mark.parametrize(
    ("content", "summed", "said"),
    [
        ("#!/bin/sh\necho something else\n", False, "nothing is installed"),
        ("#!/bin/sh\nexit 1\n", True, "does not run here"),
    ],
)
def test_the_script_installs_only_what_was_released_and_runs(
    published: tuple[Path, str], tmp_path: Path, content: str, summed: bool, said: str
) -> None:
    folder, url = published
    (folder / EXECUTABLE).write_text(content)
    if summed:
        release.write(folder, url, "registry.example/foreman")
    here = Machine(tmp_path)
    done = here.install(folder / "install.sh")
    assert (done.returncode, here.installed()) == (1, [])
    assert said in done.stderr
