"""A Foreman of one's own: started for a while, and gone afterwards whatever happens."""

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
    """The daemon ended, or did not become ready."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A `foreman serve` on a free loopback port, with a data folder that goes when it does."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def wait_ready(self) -> None:
        """Return once it takes jobs. Raises NotReady when it ends first or takes too long."""
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
        """The end of its log."""
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        return log.splitlines()[-LAST_LINES:]


@contextmanager
def running() -> Iterator[Daemon]:
    """Start a daemon with nothing but defaults; its children and its folder are gone when this ends.

    It is on a leash: even if this very process is killed, the daemon and all it started die with it.
    """
    with tempfile.TemporaryDirectory(prefix="foreman-demo-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        flags = ["--addr", f"127.0.0.1:{port}", "--data-dir", str(folder / "data"), "--shutdown-grace", "1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*leash_command(), *program.command(), "serve", *flags, "--log-format", "console"],
                stdin=subprocess.PIPE,  # its end tells the leash that we are gone
                stdout=log,
                stderr=log,
                cwd=folder,  # away from any config/foreman.toml and .env
                env=_clean_environment(),
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        try:
            yield Daemon(f"http://127.0.0.1:{port}", folder, process)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is begun here must be finished
    try:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        assert process.stdin is not None
        process.stdin.close()  # whatever is left dies now
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _clean_environment() -> dict[str, str]:
    """Ours without the settings of another Foreman, and with this very package to be found from any folder."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("FOREMAN_")}
    home = str(Path(foreman.__file__).parent.parent)
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, [home, own.get("PYTHONPATH")]))}
