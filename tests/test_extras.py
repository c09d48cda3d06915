"""The plain package is the client; each part of Foreman runs with the packages of its extra, and no others."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest

from tests.support.foreman import ROOT
from tests.support.ports import held_port

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

RUN_WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

blocked = set(sys.argv[1].split(","))
sys.argv = ["foreman", *sys.argv[2:]]
sys.meta_path.insert(0, Block())
"""
CLIENT = """
import asyncio
import foreman
from foreman.client import ConnectFailed

foreman.Receiver("secret")
url = sys.argv[1]
with foreman.Client(url) as client:
    try:
        client.run("m", "x", retry_for=0)
    except ConnectFailed as error:
        print("refused", error.nobody)

async def main():
    async with foreman.AsyncClient(url) as client:
        try:
            await client.queue()
        except ConnectFailed as error:
            print("refused", error.nobody)

asyncio.run(main())
"""
EVERYTHING = """
import importlib, pkgutil
import foreman

OF_POSTGRES = ("foreman.store.postgres", "foreman.store.transfer", "foreman.store.blob_move")

for module in pkgutil.walk_packages(foreman.__path__, "foreman."):
    if module.name in ("foreman.__main__", "foreman.targets.managed.leash"):
        continue
    if "postgres" in sys.argv or not module.name.startswith(OF_POSTGRES):
        importlib.import_module(module.name)
print("imported")
"""
COMMAND = "from foreman.cli import main; main()"


def test_the_client_runs_with_the_plain_package() -> None:
    done = run(CLIENT, *PROJECT["dependencies"], arguments=[nobody()])
    assert (done.returncode, done.stdout) == (0, "refused True\nrefused True\n"), done.stderr


@pytest.mark.parametrize("command", ["jobs", "watch --json", "submit -m m hi"])
def test_commands_that_connect_to_a_foreman_run_with_the_plain_package(command: str) -> None:
    done = run(COMMAND, *PROJECT["dependencies"], arguments=[*command.split(), "--url", nobody()])
    assert (done.returncode, done.stderr[:11]) == (3, "foreman: no"), done.stderr


@pytest.mark.parametrize("command", ["serve --slots 2", "doctor --help", "check"])
def test_a_command_that_needs_the_server_says_what_to_install(command: str) -> None:
    done = run(COMMAND, *PROJECT["dependencies"], arguments=command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"foreman: this command needs the server \(\w+ is not installed\): pip install 'foreman-llm\[server\]'\n",
        done.stderr,
    )


def test_the_overview_says_which_commands_need_the_server() -> None:
    done = run(COMMAND, *PROJECT["dependencies"], arguments=["--help"])
    assert done.returncode == 0, done.stderr
    needing = re.findall(r"^  (\w+) +\(needs: pip install 'foreman-llm\[server\]'\)$", done.stdout, re.MULTILINE)
    assert needing == ["serve", "demo", "config", "doctor", "backup", "check", "migrate"]


def test_the_server_runs_with_its_extra() -> None:
    done = run(EVERYTHING, *PROJECT["dependencies"], *EXTRAS["server"])
    assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr


def test_nodes_run_with_the_extra_of_their_database() -> None:
    needed = [*EXTRAS["server"], *(one for one in EXTRAS["postgres"] if not one.startswith("foreman-llm"))]
    done = run(EVERYTHING, *PROJECT["dependencies"], *needed, "psycopg-binary", arguments=["postgres"])
    assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr


def nobody() -> str:
    return f"http://127.0.0.1:{held_port()}"


def run(program: str, *needed: str, arguments: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program where no other packages than `needed`, and what these need themselves, can be imported."""
    installed = closure(needed)
    blocked = [root for root, names in packages_distributions().items() if not installed & {plain(n) for n in names}]
    return subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT + program, ",".join(blocked), *(arguments or ())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def closure(wanted: tuple[str, ...]) -> set[str]:
    """Return the names of the packages and of all that they require."""
    found = {"foreman-llm"}
    rest = list(wanted)
    while rest:
        name = plain(rest.pop())
        if name in found:
            continue
        found.add(name)
        try:
            rest += [need for need in requires(name) or () if "extra ==" not in need]
        except PackageNotFoundError:  # of another platform
            continue
    return found


def plain(requirement: str) -> str:
    """Return the normalized name of a package."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()
