"""Foreman and other servers as child processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 60.0  # seconds until a child serves
STOP_TIMEOUT = 15.0  # seconds from SIGTERM until SIGKILL
LOOK = 0.005  # seconds between looks at what a child has logged
LAST_WORDS = 20_000  # characters of the log of a Foreman that ended


class DaemonEnded(Exception):
    """Foreman ended before it served; the words are its last ones."""


class Daemon:
    """`foreman serve` on a port of its own choice, with the given settings; the log goes to a file beside the data."""

    def __init__(self, data_dir: Path, wrapper: Sequence[str] = (), /, **settings: object) -> None:
        self.data_dir = data_dir
        self.database = data_dir / "foreman.db"
        self.log = data_dir / "serve.log"
        self.port = 0
        self._wrapper = wrapper
        self._settings = {f"FOREMAN_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: trio.Process | None = None
        self._logged = 0  # bytes in the log before this start

    @property
    def process(self) -> trio.Process:
        assert self._process is not None
        return self._process

    async def spawn(self) -> None:
        """Start the process; it does not serve yet."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self._process = await trio.lowlevel.open_process(
                [*self._wrapper, sys.executable, "-m", "foreman", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,  # away from whatever config/foreman.toml and .env there may be
                env=self._environment(),
            )

    async def wait_serving(self) -> None:
        """Until it says where it serves. Raises DaemonEnded when it ends instead."""
        with trio.fail_after(START_TIMEOUT):
            while not (url := self._said_url()):
                if self.process.poll() is not None:
                    raise DaemonEnded(self.words()[-LAST_WORDS:])
                await trio.sleep(LOOK)
        self.port = int(url.rpartition(":")[2])

    async def start(self) -> None:
        await self.spawn()
        await self.wait_serving()

    async def kill(self) -> None:
        """SIGKILL; returns when the kernel has reaped it."""
        if self._process is not None:
            with trio.CancelScope(shield=True):
                if self._process.poll() is None:
                    self._process.kill()
                await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not end it; its exit code."""
        self._signal(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT):
            return await self.process.wait()
        await self.kill()
        return await self.process.wait()

    def words(self) -> str:
        """What it has logged since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace")

    def memory(self, name: str = "VmRSS") -> float:
        """Megabytes (10**6 bytes) in memory now; `VmHWM` for the most there ever were."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024 / 1e6

    def cpu(self) -> float:
        """Seconds of the processor that it and the processes below it have taken."""
        return sum(map(_cpu, _tree(self.process.pid))) / os.sysconf("SC_CLK_TCK")

    def _signal(self, number: int) -> None:
        pid = self.process.pid
        if self._wrapper:  # the wrapper's only child is Foreman
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(pid, number)

    def _said_url(self) -> str | None:
        for line in self.words().splitlines():
            if '"foreman serves"' in line and line.endswith("}"):
                url: str = json.loads(line)["url"]
                return url
        return None

    def _environment(self) -> dict[str, str]:
        return clean_environment() | {
            "FOREMAN_ADDR": "127.0.0.1:0",
            "FOREMAN_DATA_DIR": str(self.data_dir),
            "FOREMAN_LOG_FORMAT": "json",
            **self._settings,
        }


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _cpu(pid: int) -> int:
    """Ticks that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def clean_environment() -> dict[str, str]:
    """This process's environment without settings, and with compiled modules kept, as on any user's machine."""
    dropped = ("FOREMAN_", "PYTHONDONTWRITEBYTECODE")
    return {n: v for n, v in os.environ.items() if not n.startswith(dropped)} | {"PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def serving(data_dir: Path, **settings: object) -> AsyncIterator[Daemon]:
    """A Foreman that serves; it is gone on the way out."""
    daemon = Daemon(data_dir, **settings)

    def ended(code: int) -> DaemonEnded:
        return DaemonEnded(f"exit code {code}: {daemon.words()[-LAST_WORDS:]}")

    try:
        await daemon.start()
        yield daemon
        if code := await daemon.stop():
            raise ended(code)
    except Exception as error:
        if code := daemon.process.poll() or 0:
            raise ended(code) from error
        raise
    finally:
        await daemon.kill()


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Any]:
    """A module of the tests as a process that prints one line of JSON once it serves; what it said."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        yield json.loads(await _first_line(process))
    finally:
        await _end(process)


@asynccontextmanager
async def engine(slots: int) -> AsyncIterator[int]:
    """The embedded runner as Foreman starts it, asked by nobody else; its port."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "foreman", "engine", "--slots", str(slots), "--alias", "smollm2:135m"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        yield int((await _first_line(process)).rpartition(b":")[2])
    finally:
        await _end(process)


async def _first_line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    said = b""
    with trio.fail_after(START_TIMEOUT):
        while not said.endswith(b"\n"):
            data = await process.stdout.receive_some()
            if not data:
                raise RuntimeError(f"a child ended: {said!r}")
            said += data
    return said


async def _end(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            process.kill()
        await process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                await pipe.aclose()
