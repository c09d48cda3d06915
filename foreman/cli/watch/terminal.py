"""Terminal modes: single keys and resizes; the former mode is always restored."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from foreman.cli.ending import ends_orderly


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` with every key, from a thread; do nothing where standard input is not a terminal.

    Ctrl-C interrupts as usual. Ctrl-Z is off: it would leave the shell on this screen.
    """
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        mode = termios.tcgetattr(fd)
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        threading.Thread(target=_read, args=(fd, pressed), daemon=True).start()
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _read(fd: int, pressed: Callable[[str], None]) -> None:
    with suppress(OSError):
        while data := os.read(fd, 64):
            pressed(data.decode(errors="replace"))


@contextmanager
def signals(resized: Callable[[], None]) -> Iterator[None]:
    """Call `resized` after a resize; end in order at SIGTERM and SIGHUP."""

    def resize(_number: int, _frame: FrameType | None) -> None:
        resized()

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        with ends_orderly():
            yield
    finally:
        signal.signal(signal.SIGWINCH, before)
