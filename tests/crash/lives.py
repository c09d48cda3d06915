"""One Foreman after the other on one data folder, each born from a warm parent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.bench.daemon import ROOT, clean_environment

START = 60.0  # seconds for the parent to import everything and fork, and for a victim to serve or to leave


class Lives:
    """The parent process, and its victim of the moment."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.words: list[str] = []  # what the victim of the moment has logged
        self._begin()

    def _begin(self) -> None:
        self.port = 0
        self.died_at: str | None = None  # the point at which it killed itself
        self.code = 0  # how it ended; negative: the signal
        self.words.clear()
        self._news = trio.Event()  # it serves, or has ended
        self._born = trio.Event()
        self.ended = trio.Event()

    async def begin(self, settings: dict[str, object], *, point: str | None = None, nth: int = 1) -> None:
        """Fork a Foreman that kills itself at the `nth` passage of `point`; it does not serve yet."""
        self._begin()
        await self._order(settings=settings, point=point, nth=nth)
        with trio.fail_after(START):
            await self._born.wait()

    async def wait_serving(self) -> bool:
        """Whether it serves; False when it ended before."""
        with trio.fail_after(START):
            await self._news.wait()
        return not self.ended.is_set()

    async def kill(self) -> None:
        """SIGKILL if it still lives; returns when it is gone."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        await self._signal(signal.SIGTERM)
        return self.code

    async def _signal(self, number: int) -> None:
        if not self.ended.is_set():
            await self._order(signal=number)
        with trio.fail_after(START):
            await self.ended.wait()

    async def _order(self, **words: object) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(words).encode() + b"\n")

    async def read(self) -> None:
        """Take in what parent and victim say, for ever."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(line.decode(errors="replace"))

    def _hear(self, line: str) -> None:
        said = json.loads(line) if line.startswith("{") else {}
        if "born" in said:
            self._born.set()
        elif "died_at" in said:
            self.died_at = said["died_at"]
        elif "ended" in said:
            self.code = said["ended"]
            self.ended.set()
            self._news.set()
        else:
            self.words.append(line)
            if said.get("event") == "foreman serves":
                self.port = int(said["url"].rpartition(":")[2])
                self._news.set()


@asynccontextmanager
async def lives(log: Path) -> AsyncIterator[Lives]:
    """A parent whose victims are gone on the way out; `log` gets what it says itself."""
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.crash.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=clean_environment(),
        )
    found = Lives(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.read)
            yield found
            nursery.cancel_scope.cancel()
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()  # it kills its victim and ends
            await process.wait()
            await process.stdout.aclose()
