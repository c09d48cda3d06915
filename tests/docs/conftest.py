"""One Foreman for the examples of all pages, and what runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import Block, Page
from tests.support.foreman import Daemon, an_upstream, until

MODEL = "smollm2:135m"
SECRET = "change-me"
TIMEOUT = 60  # seconds for the examples of one page
TOOLS = ("bash", "cat", "rm", "sed", "sleep")  # beside curl and foreman; what changes a machine has no place here
CURL = """#!/bin/sh
exec {curl} "$@" -w '%{{stderr}}@curl %{{http_code}}\\n'
"""  # with its real path; it adds which status came


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of the blocks of a page."""

    code: int
    output: str  # that of those that go on until Ctrl-C at its end
    statuses: list[int]  # of every answer that curl got; 0 where there was none


class TargetHarness:
    """A folder to try examples in, beside a Foreman that is where the pages say it is, but for the port.

    `$JOB` is a job of the reader's, which has ended.
    """

    def __init__(self, folder: Path, foreman: Daemon, job_id: str) -> None:
        self.folder = folder
        self.foreman = foreman
        self.job_id = job_id
        self._ports = {"8080": foreman.url.rpartition(":")[2]}
        folder.joinpath(".venv").symlink_to(sys.prefix)
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in TOOLS:
            self.tools.joinpath(name).symlink_to(_path_of(name))
        self.tools.joinpath("foreman").symlink_to(Path(sys.prefix) / "bin" / "foreman")
        self.tools.joinpath("curl").write_text(CURL.format(curl=_path_of("curl")))
        self.tools.joinpath("curl").chmod(0o755)

    def sh(self, page: Page, *wanted: str) -> Ran:
        """Run its blocks in one shell, one after the other; the first that fails ends it.

        Those that go on until Ctrl-C get one when all that is `wanted`, as patterns, has been said.
        """
        script = ["set -e"]
        for block in page.blocks("sh"):
            if block.runs:
                script.append(self._here(block))
            elif block.goes_on:
                script.append(self._beside(block))
        (self.folder / "script.sh").write_text("\n".join(script))
        code, output = 1, ""

        def said() -> str:
            return "\n".join([output, *(file.read_text() for file in sorted(self.folder.glob("beside-*.txt")))])

        try:
            code, output = self._run([_path_of("bash"), "script.sh"])
            if code == 0:
                with suppress(AssertionError):  # the test shows what was said
                    until(lambda: all(re.search(pattern, said()) for pattern in wanted))
        finally:
            for pid in self.folder.glob("beside-*.pid"):
                with suppress(ProcessLookupError):
                    os.killpg(int(pid.read_text()), signal.SIGINT)
        return Ran(code, said(), [int(status) for status in re.findall(r"@curl (\d+)$", output, re.MULTILINE)])

    def python(self, page: Page) -> Ran:
        """Run its blocks in one interpreter, one after the other; a warning is a fault."""
        script = "\n".join(self._here(block) for block in page.blocks("python") if block.runs)
        (self.folder / "script.py").write_text(script)
        return Ran(*self._run([sys.executable, "-W", "error", "script.py"]), [])

    def _run(self, command: list[str]) -> tuple[int, str]:
        """Its exit code and what it said; whatever it has left running is ended."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
        env |= {"PATH": str(self.tools), "FOREMAN_URL": self.foreman.url, "JOB": self.job_id}
        told = self.folder / "output.txt"
        with told.open("w") as output:
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(TIMEOUT)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
        return code, told.read_text()

    def _here(self, block: Block) -> str:
        """The block with the ports that are free here."""
        return re.sub(r"(?<=127\.0\.0\.1:)\d+|(?<=--port )\d+|(?<=\"127\.0\.0\.1\", )\d+", self._port, block.text)

    def _port(self, found: re.Match[str]) -> str:
        if found[0] not in self._ports:
            with socket.create_server(("127.0.0.1", 0)) as held:
                self._ports[found[0]] = str(held.getsockname()[1])
        return self._ports[found[0]]

    def _beside(self, block: Block) -> str:
        """The block in a process group of its own, going on as soon as it has said something."""
        name = f"beside-{block.line}"
        lines = [
            f"set -m; bash -c {shlex.quote(self._here(block).strip())} > {name}.txt 2>&1 &",
            f"echo $! > {name}.pid; set +m",
            f"until [ -s {name}.txt ]; do sleep 0.05; done",
        ]
        return "\n".join(lines)


def _path_of(name: str) -> str:
    found = shutil.which(name)
    assert found, f"the examples need {name}"
    return found


@pytest.fixture(scope="session")
def foreman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with an_upstream("--kind", "both", "--models", MODEL) as upstream:
        settings = {"ollama_url": upstream.url, "webhook_secret": SECRET, "webhook_backoff": 0.1, "slots": 4}
        with Daemon(tmp_path_factory.mktemp("docs") / "data", **settings) as daemon:
            yield daemon


@pytest.fixture
def harness(tmp_path: Path, foreman: Daemon) -> TargetHarness:
    payload = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    job = foreman.http.post("/jobs", json=payload, headers={"Prefer": "wait=60"}).json()
    return TargetHarness(tmp_path, foreman, job["job_id"])
