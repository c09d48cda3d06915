"""A program on a terminal of its own: a pseudo terminal, and a screen that shows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pyte

from tests.cli.conftest import ROOT

RETRY_FOR = 30.0  # seconds
SIZES = {"COLUMNS", "LINES"}  # of the terminal that the tests run on; programs believe them
LEAVES_OTHER_SCREEN = b"\x1b[?1049l"
AS_A_LOGIN = (  # a session whose terminal is standard input, so that its Ctrl-C is a signal
    "import fcntl, os, sys, termios\n"
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
SHOWS_CURSOR = b"\x1b[?25h"


class Terminal:
    """Runs `foreman` with `words` on a terminal of `columns` by `lines`."""

    def __init__(self, *words: str, env: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self._ours, self._theirs = pty.openpty()  # theirs stays open, to see what is left of its modes
        self._set_size(columns, lines)
        self.modes = self._modes()
        self.written = b""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.process = subprocess.Popen(
            [sys.executable, "-c", AS_A_LOGIN, sys.executable, "-m", "foreman", *words],
            cwd=ROOT,
            env={name: value for name, value in env.items() if name not in SIZES} | {"TERM": "xterm-256color"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change its size, as a window does that is drawn larger."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)
        os.kill(self.process.pid, signal.SIGWINCH)

    def shows(self, wanted: Callable[[list[str]], Any]) -> list[str]:
        """Its lines, once they are what is wanted."""
        deadline = time.monotonic() + RETRY_FOR
        while not wanted(self.screen.display):
            assert time.monotonic() < deadline, "\n".join(["is not shown:", *self.screen.display])
            self.read(0.1)
        return list(self.screen.display)

    def ends(self) -> int:
        """Its exit code, once it has ended by itself."""
        deadline = time.monotonic() + RETRY_FOR
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "does not end"
            self.read(0.05)
        self.read(0)
        return self.process.returncode

    @property
    def restored(self) -> bool:
        """Whether the terminal is what it was: the first screen, a cursor, its modes."""
        end = self.written[self.written.rfind(b"\x1b[?1049h") :]
        return LEAVES_OTHER_SCREEN in end and SHOWS_CURSOR in end and self.modes_restored

    @property
    def modes_restored(self) -> bool:
        """Whether its modes are what they were."""
        return self._modes() == self.modes

    def read(self, retry_for: float) -> None:
        """Take what the program writes, and wait so many seconds for the first of it."""
        while select.select([self._ours], [], [], retry_for)[0]:
            data = os.read(self._ours, 65536)
            self.written += data
            self._stream.feed(data)
            retry_for = 0

    def _modes(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
