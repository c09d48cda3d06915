"""The command line, in this process and as a program; and a real Foreman in front of a scripted server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foreman.cli.root import foreman
from foreman.client import Client, ClientFault
from foreman.targets.child import free_port

ROOT = Path(__file__).parents[2]
TOKEN = "open sesame"
SECRET = "whsec_Zm9yZW1hbiBvZiB0aGUgeWFyZA=="
Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("FOREMAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def invoke() -> Invoke:
    """Run a verb in this process."""

    def run(*words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(foreman, words, input=given, prog_name="foreman")

    return run


@dataclass
class House:
    """A `foreman serve` in front of a scripted server; may be killed and started again on the same data."""

    folder: Path
    upstream: str
    stop_upstream: Callable[[], None]
    flags: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        flags = {
            "addr": f"127.0.0.1:{self.port}",
            "data-dir": str(self.folder),
            "ollama-url": self.upstream,
            "retry-backoff": "50 ms",
            "slots": "8",
            "log-level": "error",
            "webhook-secret": SECRET,
            "webhook-retries": "0",
            **self.flags,
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foreman", "serve", *words], cwd=ROOT, env=environment(FOREMAN_TOKEN=TOKEN)
        )
        deadline = time.monotonic() + 30
        with Client(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    if client.ready():
                        return
                except ClientFault:
                    assert self.process.poll() is None, "foreman serve ended"
                time.sleep(0.02)
        raise AssertionError("foreman serve did not become ready")

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def run(self, *words: str, given: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the program as a user would, with the right token."""
        return subprocess.run(
            [sys.executable, "-m", "foreman", *words],
            cwd=ROOT,
            env=environment(**{"FOREMAN_URL": self.url, "FOREMAN_TOKEN": TOKEN, **env}),
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def begin(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start the program as a user would, to talk with it while it runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "foreman", *words],
            cwd=ROOT,
            env=environment(**{"FOREMAN_URL": self.url, "FOREMAN_TOKEN": TOKEN, **env}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def client(self) -> Client:
        return Client(self.url, TOKEN)


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("FOREMAN_")} | more


@contextmanager
def a_house(folder: Path, **flags: str) -> Iterator[House]:
    """`flags` of `foreman serve`, with _ for -."""
    command = [sys.executable, "-m", "tests.upstream", "--kind", "ollama"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as upstream:
        assert upstream.stdout is not None
        url = f"http://127.0.0.1:{json.loads(upstream.stdout.readline())['port']}"
        house = House(folder, url, upstream.kill, {name.replace("_", "-"): value for name, value in flags.items()})
        try:
            house.start()
            yield house
        finally:
            if house.process is not None and house.process.poll() is None:
                house.kill()
            upstream.kill()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all the tests of a file."""
    with a_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def here(house: House, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a verb in this process, as a user of `house` with the right token; not one that starts threads."""
    monkeypatch.setenv("FOREMAN_URL", house.url)
    monkeypatch.setenv("FOREMAN_TOKEN", TOKEN)
    return invoke
