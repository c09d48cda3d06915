"""A temporary Foreman as a child process, removed afterwards whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

import foreman
from foreman import program
from foreman.client import Client, ClientError
from foreman.targets.managed.server_process import leash_command

READY_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 15.0  # seconds between SIGTERM and the end of the leash
LAST_LINES = 15

_SERVES = re.compile(r"foreman serves .*\burl=(\S+)")  # its log says the port that it was given


class NotReady(click.ClickException):
    """The daemon ended early or did not become ready in time."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running `foreman serve` on a free loopback port, with a temporary data folder."""

    folder: Path
    process: subprocess.Popen[bytes]

    def wait_ready(self) -> str:
        """Wait until it accepts jobs and return its URL. Raise NotReady when it ends first or takes too long."""
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NotReady(f"foreman serve ended with status {self.process.returncode}")
            if found := _SERVES.search(self._log()):
                with suppress(ClientError), Client(found[1]) as client:
                    if client.ready():
                        return found[1]
            time.sleep(0.02)
        raise NotReady(f"foreman serve was not ready after {READY_TIMEOUT:g} s")

    def last_lines(self) -> list[str]:
        """Return the last lines of its log."""
        return self._log().splitlines()[-LAST_LINES:]

    def _log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running() -> Iterator[Daemon]:
    """Start a daemon with default settings; end it and its children and remove its folder on exit.

    It is on a leash: if this process is killed, the daemon and its children die with it.
    """
    with tempfile.TemporaryDirectory(prefix="foreman-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        flags = ["--addr", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--shutdown-grace", "1"]
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
            yield Daemon(folder, process)
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
