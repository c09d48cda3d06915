"""Programs without the second that their imports cost: forked from a process that has imported them once.

`start` is for the tests. Run as a program, this file is the parent of what they start: it has one thread, no event
loop and no open file but its link to the tests. A child has the environment and the streams that it is given, a session
of its own, and no descriptor else; it runs what `python -m` would run, and ends as the interpreter ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import random
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LARGEST = 2**17  # bytes of a message
OTHERS = ("PYTEST_CURRENT_TEST",)  # variables that differ from test to test and that Foreman does not read


class Forked:
    """A child of the preloaded process; the part of `subprocess.Popen` that tests use."""

    def __init__(self, parent: _Parent, pid: int, pidfd: int, stdin: int, output: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = FileIO(stdin, "wb")
        self.stdout = self.stderr = BufferedReader(FileIO(output, "rb"))  # whichever is not lost
        self._parent = parent
        self._pidfd = pidfd
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Until it is asked for, the process that has ended keeps its id."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = self._parent.reap(self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with self._lock:
            if self.returncode is None:
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._pidfd)


def start(command: Sequence[str], env: Mapping[str, str], stream: str) -> Forked | None:
    """Start `python -m …`, its standard input and one other stream in pipes, the third lost.

    None for another command, and where a fork would be something else than a start: where a test has changed a variable
    that the interpreter or a library may have read already, or how many files may be open; where the lines that run are
    recorded; and where there is no pidfd.
    """
    global _parent
    if (*command[:2],) != (sys.executable, "-m") or _inherited(env) != _usual:
        return None
    if sys.platform != "linux" or "COVERAGE_PROCESS_CONFIG" in env:
        return None
    with _lock:
        if _parent is None:
            _parent = _Parent(env)
    return _parent.fork(command[2:], env, stream)


def _inherited(env: Mapping[str, str]) -> object:
    return _common(env), resource.getrlimit(resource.RLIMIT_NOFILE)


def _common(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("FOREMAN_") and name not in OTHERS}


class _Parent:
    """The preloaded process, as the tests see it. It ends with them, and so do those of its children that are left."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.preloaded", str(theirs.fileno())]
            null = subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, env=_common(env), cwd=ROOT, stdin=null, stdout=null, pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
        atexit.register(self._close)
        assert self._link.recv(LARGEST) == b"ready", "the preloaded process did not start"

    def fork(self, words: Sequence[str], env: Mapping[str, str], stream: str) -> Forked:
        their_input, our_input = os.pipe()
        our_output, their_output = os.pipe()
        try:
            request = json.dumps({"words": words, "env": dict(env), "stream": stream}).encode()
            with self._lock:
                socket.send_fds(self._link, [request], [their_input, their_output])
                answer, pidfds, _, _ = socket.recv_fds(self._link, LARGEST, 1)
            assert answer, "the preloaded process is gone"
        finally:
            os.close(their_input)
            os.close(their_output)
        return Forked(self, int(answer), pidfds[0], our_input, our_output)

    def reap(self, pid: int) -> int:
        with self._lock:
            self._link.send(json.dumps({"reap": pid}).encode())
            return int(self._link.recv(LARGEST))

    def _close(self) -> None:
        self._link.close()
        self._process.wait()


_usual = _inherited(os.environ)  # this file is imported before the first test
_parent: _Parent | None = None
_lock = threading.Lock()


def _serve(link: socket.socket) -> Sequence[str]:
    """Fork as told until the link is closed; return in a child, with the module that it runs and its arguments."""
    made = [found for found in gc.get_objects() if isinstance(found, random.Random)]
    running: set[int] = set()
    while True:
        message, fds, _, _ = socket.recv_fds(link, LARGEST, 2)
        if not message:
            break
        request: dict[str, Any] = json.loads(message)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            running.remove(request["reap"])
            link.send(str(os.waitstatus_to_exitcode(status)).encode())
        elif pid := os.fork():
            running.add(pid)
            pidfd = os.pidfd_open(pid)
            socket.send_fds(link, [str(pid).encode()], [pidfd])
            for fd in (pidfd, *fds):
                os.close(fd)
        else:
            link.close()
            stdin, output = fds
            _become(stdin, output, request["stream"], request["env"])
            for one in made:  # as in each start of its own; the one of the module does this itself
                one.seed()
            return list(request["words"])
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    sys.exit()


def _become(stdin: int, output: int, stream: str, env: Mapping[str, str]) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    streams = (stdin, output, null) if stream == "stdout" else (stdin, null, output)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    for fd in streams:
        os.close(fd)
    os.environ.clear()
    os.environ.update(env)


if __name__ == "__main__":
    # What `foreman serve` imports, and as it does. The scripted upstream needs a part of that.
    from foreman.garbage import collection_paused

    with collection_paused():
        import foreman.cli.commands.serve
        import foreman.supervisor  # noqa: F401
    gc.freeze()  # or each child would walk through all of it at its start, and have a copy of it

    assert len(os.listdir("/proc/self/task")) == 1, "what has threads cannot be forked"
    with socket.socket(fileno=int(sys.argv[1])) as _link:
        _link.send(b"ready")
        _module, *sys.argv[1:] = _serve(_link)
    runpy.run_module(_module, run_name="__main__", alter_sys=True)
