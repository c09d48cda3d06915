"""The leash of a child server: a tiny process between Foreman and it, through which the child dies when Foreman does.

Its standard input is a pipe that only Foreman holds open. However Foreman ends, the pipe ends with it, and the leash
kills the child's whole process group. The kernel's parent-death signal alone would not do: it follows the thread that
started the child, and Trio starts processes from threads that soon end. Here it is asked from the main thread, for the
case that the leash itself is killed. Imports only what it needs, to start fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_STARTED = 127  # exit status, as of a shell, when the command cannot be run


def main(argv: list[str]) -> int:
    """Run the command after `--` until it ends or standard input does; returns its exit status."""
    command = argv[1:] if argv[:1] == ["--"] else argv
    if not command:
        print("leash: no command", file=sys.stderr)
        return NOT_STARTED
    # A SIGINT from the terminal goes to Foreman, which decides what becomes of its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping = threading.Event()
    child: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        if child is not None:
            _signal_group(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        child = _start(command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED
    if stopping.is_set():
        _signal_group(child, signal.SIGTERM)
    threading.Thread(target=_kill_at_end_of_input, args=(child,), daemon=True).start()
    status = child.wait()
    _signal_group(child, _KILL)  # what the child started must not stay either
    return status if status >= 0 else 128 - status


def _kill_at_end_of_input(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _signal_group(child, _KILL)


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_parent())


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            child.terminate()
        else:
            os.killpg(child.pid, number)  # the group outlives its first process


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)  # before the fork: loading a library after it may dead-lock
    parent = os.getpid()

    def ask() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request was in force
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
