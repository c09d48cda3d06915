"""Terminal modes: single keys and resizes; the former mode is always restored."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO

from foreman.cli.ending import ends_orderly
from foreman.cli.watch.keyboard import keys_in

ESCAPE = "\x1b"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"  # DECAWM
REST = 0.05  # seconds within which the rest of a key's bytes follow the first


@contextmanager
def single_keys() -> Iterator[None]:
    """Have the terminal pass on each key at once; do nothing where standard input is none. Ctrl-C and Ctrl-Z work."""
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def cut_lines(terminal: IO[str]) -> Iterator[None]:
    """Have the terminal cut lines at its edge; one with wider emoji than reckoned would scroll the first lines away.

    Terminals do not agree on the width of those of several characters.
    """
    terminal.write(NO_WRAP)
    try:
        yield
    finally:
        with suppress(OSError):  # the terminal may be gone
            terminal.write(WRAP)
            terminal.flush()


def read_keys(pressed: Callable[[str], None]) -> None:
    """Call `pressed` with every key by its name, from a thread."""
    if sys.stdin.isatty():
        threading.Thread(target=_read, args=(sys.stdin.fileno(), pressed), daemon=True).start()


def _read(fd: int, pressed: Callable[[str], None]) -> None:
    with suppress(OSError):
        while data := os.read(fd, 64):
            if data.endswith(ESCAPE.encode()) and select.select([fd], [], [], REST)[0]:
                data += os.read(fd, 64)
            for key in keys_in(data.decode(errors="replace")):
                pressed(key)


def stop() -> None:
    """Stop this process, as Ctrl-Z does, until it is continued."""
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)


@contextmanager
def signals(resized: Callable[[], None], stopped: Callable[[], None]) -> Iterator[None]:
    """Call `resized` after a resize and `stopped` at SIGTSTP; end in order at SIGTERM and SIGHUP."""

    def resize(_number: int, _frame: FrameType | None) -> None:
        resized()

    def pause(_number: int, _frame: FrameType | None) -> None:
        stopped()

    before = {signal.SIGWINCH: signal.signal(signal.SIGWINCH, resize)}
    before |= {signal.SIGTSTP: signal.signal(signal.SIGTSTP, pause)}
    try:
        with ends_orderly():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
