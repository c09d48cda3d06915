"""This very program: how it starts itself again, from source and as the single executable.

The single executable is two processes. The outer one unpacks it into a folder, starts the inner one there, passes on to
it every signal, and removes the folder when it has ended. What follows from that is dealt with here.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ECHO = 0.25  # seconds within which a second SIGINT is the same Ctrl-C: once from the terminal, once passed on


def frozen() -> bool:
    """Whether this is the single executable."""
    return bool(getattr(sys, "frozen", False))


def command() -> list[str]:
    """The words that start this program once more."""
    return [sys.executable] if frozen() else [sys.executable, "-m", "foreman"]


def unpacked() -> Path | None:
    """The folder with the parts of the single executable; None from source."""
    return Path(getattr(sys, "_MEIPASS", "")) if frozen() else None


def die_with_outer() -> None:
    """Have the kernel kill this process, the inner one, when the outer one is killed: it could not pass that on."""
    if sys.platform == "linux":
        import ctypes

        # The signal comes when the parent's thread ends. The outer process has but one.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def forget_unpacking(environment: MutableMapping[str, str]) -> None:
    """Make it what it was before the executable was unpacked: other programs would load our libraries, not theirs."""
    for name in [name for name in environment if name.startswith("_PYI_")]:
        del environment[name]
    environment.pop("LD_LIBRARY_PATH", None)
    if before := environment.pop("LD_LIBRARY_PATH_ORIG", ""):
        environment["LD_LIBRARY_PATH"] = before


def interrupt_handler() -> Callable[[int, FrameType | None], None]:
    """What shall answer to SIGINT with KeyboardInterrupt, once for each Ctrl-C."""
    if not frozen():
        return signal.default_int_handler
    heard = -ECHO

    def once(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        now = time.monotonic()
        echo, heard = now - heard < ECHO, now
        if not echo:
            signal.default_int_handler(number, frame)

    return once
