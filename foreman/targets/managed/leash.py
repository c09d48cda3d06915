"""The leash of a child server: a small process between Foreman and the child that kills the child when Foreman ends.

Its standard input is a pipe that only Foreman holds open. However Foreman ends, the pipe ends too, and the leash kills
the whole process group of the child. The parent-death signal of the kernel alone is not enough: it follows the thread
that started the child, and Trio starts processes from threads that soon end. The leash sets it from its main thread, in
case the leash itself is killed. Processes that the child started in other sessions are found by a mark in their
environment, or as descendants. This module imports little, to start fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

KEY = "FOREMAN_ENGINE_KEY"  # in the environment of all processes of one child server
OWNER = "FOREMAN_ENGINE_OF"  # in the environment of all processes of one data folder
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
NOT_STARTED = 127  # exit status when the command cannot be run, as in a shell
ROUNDS = 100  # of search; processes left behind may start more meanwhile
PAUSE = 0.01  # seconds between two rounds: a killed process takes a moment to end


def main(argv: list[str]) -> int:
    """Run the command after `--` until it or standard input ends; return its exit status."""
    command = argv[1:] if argv[:1] == ["--"] else argv
    if not command:
        print("leash: no command", file=sys.stderr)
        return NOT_STARTED
    # A SIGINT from the terminal also goes to Foreman, which stops its children itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping = threading.Event()
    child: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        if child is not None:
            _signal_group(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    _adopt_orphans()
    try:
        child = _start(command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED
    if stopping.is_set():
        _signal_group(child, signal.SIGTERM)
    threading.Thread(target=_kill_at_end_of_input, args=(child,), daemon=True).start()
    status = _wait(child.pid)
    _signal_group(child, signal.SIGKILL)  # the processes that the child started end too
    kill_left_behind(f"{KEY}={os.environ.get(KEY, '')}", descendants=True)
    return status if status >= 0 else 128 - status


def kill_left_behind(mark: str, *, descendants: bool = False) -> int:
    """Kill every process with `mark` (NAME=VALUE) in its environment, in any session, and return their number.

    With `descendants`, kill those of the calling process too, marked or not. The calling process itself is spared.
    Without /proc, kill nothing and return 0.
    """
    killed: set[int] = set()
    for _ in range(ROUNDS):
        found = _left_behind(mark.encode(), os.getpid() if descendants else None)
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(PAUSE)
        if descendants:
            _reap()
    return len(killed)


def _left_behind(mark: bytes, ancestor: int | None) -> set[int]:
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return set()
    found: set[int] = set()
    children: dict[int, list[int]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]  # the name before it may hold any character
            if state == b"Z":
                continue
            children.setdefault(int(parent), []).append(pid)
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.add(pid)
    below = [] if ancestor is None else [ancestor]
    while below:
        more = children.pop(below.pop(), [])
        found.update(more)
        below += more
    return found - {os.getpid()}


def _wait(pid: int) -> int:
    """Wait for `pid` and return its exit code; reap adopted orphans meanwhile."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _kill_at_end_of_input(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _signal_group(child, signal.SIGKILL)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_parent())


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)  # the group outlives its first process


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that they can be found."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


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
