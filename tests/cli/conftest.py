"""The command line, in this process and as a program; and a real Foreman in front of a scripted server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foreman.cli.root import foreman
from foreman.client import Client
from tests.support.foreman import Daemon, Upstream, an_upstream
from tests.support.ports import held_port

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


class App:
    """A Foreman in front of the scripted upstream, and its command line; killed and started again it keeps its port."""

    def __init__(self, folder: Path, upstream: Upstream, kind: str = "ollama", **settings: object) -> None:
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{held_port()}"
        given: dict[str, object] = {
            f"{kind}_url": upstream.url,
            "retry_backoff": 0.05,
            "slots": 8,
            "webhook_secret": SECRET,
            "webhook_retries": 0,
        } | settings
        addr = self.url.removeprefix("http://")
        self.daemon = Daemon(folder, addr=addr, token=TOKEN, **given)

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
def an_app(folder: Path, kind: str = "ollama", **settings: object) -> Iterator[App]:
    with an_upstream("--kind", kind) as upstream:
        app = App(folder, upstream, kind, **settings)
        with app.daemon:
            yield app
            assert not app.daemon.errors


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One for all the tests of a file."""
    with an_app(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture
def here(app: App, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a verb in this process, as a user of `app` with the right token; not one that starts threads."""
    monkeypatch.setenv("FOREMAN_URL", app.url)
    monkeypatch.setenv("FOREMAN_TOKEN", TOKEN)
    return invoke
