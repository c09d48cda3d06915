"""The terminal as a whole screen: single keys, changes of its size, and back to what it was however this ends."""

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

ENDS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Tell every key as it is pressed, from a thread; nothing where standard input is no terminal.

    Ctrl-C interrupts as ever. Ctrl-Z does nothing: it would leave the shell with our screen.
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
        with suppress(termios.error):  # it may be gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _read(fd: int, pressed: Callable[[str], None]) -> None:
    with suppress(OSError):
        while data := os.read(fd, 64):
            pressed(data.decode(errors="replace"))


@contextmanager
def signals(resized: Callable[[], None]) -> Iterator[None]:
    """Tell of a new size; let SIGTERM and SIGHUP end the program by way of everything that puts the terminal right."""

    def resize(_number: int, _frame: FrameType | None) -> None:
        resized()

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {signal.SIGWINCH: signal.signal(signal.SIGWINCH, resize)}
    before |= {number: signal.signal(number, end) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
