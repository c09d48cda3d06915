"""The program's own command line, environment and signals, from source and as the single executable.

The single executable runs as two processes. The outer one unpacks it into a folder, starts the inner one there,
forwards every signal to it, and removes the folder at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ECHO = 0.5  # seconds within which a second SIGINT is the same Ctrl-C: once from the terminal, once forwarded


def frozen() -> bool:
    """Return True in the single executable."""
    return bool(getattr(sys, "frozen", False))


def command() -> list[str]:
    """Return the command line that starts this program."""
    return [sys.executable] if frozen() else [sys.executable, "-m", "foreman"]


def install(extra: str) -> str:
    """Return the command that installs this package with an extra, by the tool that has installed it here."""
    marks = {"pipx_metadata.json": "pipx install --force", "uv-receipt.toml": "uv tool install"}
    tool = next((command for mark, command in marks.items() if os.path.exists(os.path.join(sys.prefix, mark))), None)
    return f"{tool or 'pip install'} 'foreman-llm[{extra}]'"


def unpacked() -> Path | None:
    """Return the folder of the unpacked executable, or None from source."""
    return Path(getattr(sys, "_MEIPASS", "")) if frozen() else None


def die_with_outer() -> None:
    """Make the kernel kill this inner process with the outer one, since SIGKILL cannot be forwarded."""
    if sys.platform == "linux":
        import ctypes

        # The signal is sent when the parent's thread ends; the outer process has only one.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def forget_unpacking(environment: MutableMapping[str, str]) -> None:
    """Restore the environment from before unpacking, or other programs would load the executable's libraries."""
    for name in [name for name in environment if name.startswith("_PYI_")]:
        del environment[name]
    environment.pop("LD_LIBRARY_PATH", None)
    if before := environment.pop("LD_LIBRARY_PATH_ORIG", ""):
        environment["LD_LIBRARY_PATH"] = before


def interrupt_handler() -> Callable[[int, FrameType | None], None]:
    """Return a SIGINT handler that raises KeyboardInterrupt once per Ctrl-C."""
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
