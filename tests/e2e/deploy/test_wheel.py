"""The package that users install: built as `make dist` builds it, alone in an environment with what it requires."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from foreman import __version__
from tests.support.api import state, submit
from tests.support.foreman import ROOT, Daemon, an_upstream, until
from tests.test_extras import EXTRAS, PROJECT, closure

PAGE = ROOT / "foreman" / "http" / "ui" / "static"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the sdist."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment with the wheel and what its server requires, nothing else."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, symlinks=True)
    [packages] = place.glob("lib/python*/site-packages")
    for name in closure((*PROJECT["dependencies"], *EXTRAS["server"])) - {"foreman-llm"}:
        link(name, packages)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", *built.glob("*.whl"))
    return place / "bin"


def test_the_wheel_has_all_that_it_needs_and_nothing_else(built: Path) -> None:
    [file] = built.glob("*.whl")
    names = set(zipfile.ZipFile(file).namelist())
    tracked = run("git", "ls-files", "foreman", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    assert set(tracked) <= names
    assert {f"foreman/docs/{name}.md" for name in ("settings", "cli", "api", "jobs", "howto/fleet")} <= names
    assert {name.partition("/")[0] for name in names} == {"foreman", f"foreman_llm-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/adr/" in name]


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        sdist.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    again = build(source, tmp_path / "again", "-t", "wheel")
    [one], [other] = built.glob("*.whl"), again.glob("*.whl")
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


def test_what_is_installed_serves_a_job_the_page_and_the_docs(installed: Path, tmp_path: Path) -> None:
    program = str(installed / "foreman")
    assert run(program, "--version", cwd=tmp_path) == f"foreman {__version__}\n"
    assert run(program, "docs", "settings", cwd=tmp_path) == (ROOT / "docs" / "settings.md").read_text()
    with an_upstream("--kind", "ollama") as upstream:
        daemon = Daemon(tmp_path / "data", ollama_url=upstream.url, forked=False)
        daemon.command = ["/bin/sh", "-c", f"cd {tmp_path} && exec {program} serve"]
        with daemon:
            job_id = submit(daemon, "x")
            until(lambda: state(daemon, job_id) == "done")
            for file in PAGE.iterdir():
                found = daemon.http.get(
                    "/" if file.name == "index.html" else f"/static/{file.name}", headers={"Accept": "text/html"}
                )
                assert found.status_code == 200, file.name
                assert file.name == "index.html" or found.content == file.read_bytes()
            assert daemon.http.get("/openapi.json").json()["info"]["version"] == __version__


def build(source: Path, to: Path, *more: str) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-d", to, *more, cwd=source)
    return to


def link(name: str, packages: Path) -> None:
    """Make an installed distribution importable in another environment of the same Python."""
    try:
        found = distribution(name)
    except ModuleNotFoundError:  # of another platform
        return
    for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        packages.joinpath(top).symlink_to(Path(str(found.locate_file(top))))


def run(*command: object, cwd: Path = ROOT) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FOREMAN_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
