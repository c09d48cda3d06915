"""A temporary Foreman as a child process, removed afterwards whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

import foreman
from foreman import program
from foreman.client import Client, ClientError
from foreman.targets.managed.child import free_port, leash_command

READY_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 15.0  # seconds between SIGTERM and the end of the leash
LAST_LINES = 15


class NotReady(click.ClickException):
    """The daemon ended early or did not become ready in time."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running `foreman serve` on a free loopback port, with a temporary data folder."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def wait_ready(self) -> None:
        """Wait until it accepts jobs. Raise NotReady when it ends first or takes too long."""
        deadline = time.monotonic() + READY_TIMEOUT
        with Client(self.url) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise NotReady(f"foreman serve ended with status {self.process.returncode}")
                try:
                    if client.ready():
                        return
                except ClientError:
                    pass
                time.sleep(0.02)
        raise NotReady(f"foreman serve was not ready after {READY_TIMEOUT:g} s")

    def last_lines(self) -> list[str]:
        """Return the last lines of its log."""
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        return log.splitlines()[-LAST_LINES:]


@contextmanager
def running() -> Iterator[Daemon]:
    """Start a daemon with default settings; end it and its children and remove its folder on exit.

    It is on a leash: if this process is killed, the daemon and its children die with it.
    """
    with tempfile.TemporaryDirectory(prefix="foreman-demo-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        flags = ["--addr", f"127.0.0.1:{port}", "--data-dir", str(folder / "data"), "--shutdown-grace", "1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*leash_command(), *program.command(), "serve", *flags, "--log-format", "console"],
                stdin=subprocess.PIPE,  # the leash ends the daemon when this pipe closes
                stdout=log,
                stderr=log,
                cwd=folder,  # so that no config/foreman.toml or .env is found
                env=_clean_environment(),
                start_new_session=True,  # Ctrl-C is handled here
            )
        try:
            yield Daemon(f"http://127.0.0.1:{port}", folder, process)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the cleanup
    try:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        assert process.stdin is not None
        process.stdin.close()  # the leash kills what is left
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _clean_environment() -> dict[str, str]:
    """Return the environment without FOREMAN_ variables, and with this package importable from any folder."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("FOREMAN_")}
    home = str(Path(foreman.__file__).parent.parent)
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, [home, own.get("PYTHONPATH")]))}
