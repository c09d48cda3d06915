"""One process of a managed model's server: started on a leash, its output logged, its whole group ended."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import trio

from foreman import program
from foreman.config.managed_model import ManagedModel
from foreman.targets.managed import leash
from foreman.targets.managed.child_log import ChildLog

STOP_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL
STOP_COMMAND_TIMEOUT = 30.0  # seconds for a command that stops the server; Docker's own gives it 10 s
KILL_TIMEOUT = 5.0  # seconds for the kernel to reap a killed process
READ_SIZE = 65_536  # bytes
HOST = "127.0.0.1"

_SERVES = re.compile(rb"serving [^\n]* at http://127\.0\.0\.1:(\d+)\n")  # as `foreman engine` says it
_MOST_SAID = 65_536  # bytes of output searched at once

_ports: set[int | None] = set()  # ports of servers that start or run: one that does not listen yet would be found free


class ServerProcess:
    """A server's process group. Its port is given in the command, or said by the server in its output."""

    def __init__(
        self, process: trio.Process, log: ChildLog, mark: str, port: int | None, stop: Callable[[], Awaitable[bool]]
    ) -> None:
        self._process = process
        self._log = log
        self._mark = mark
        self._port = port
        self._given = port is not None
        self._stop = stop
        self._said = b""
        self._known = trio.Event()
        if self._given:
            self._known.set()

    @classmethod
    async def start(cls, model: ManagedModel, log: ChildLog, *, key: str, owner: str) -> ServerProcess:
        """Start the model's command; `key` and `owner` mark its processes. Raise OSError when the leash cannot run."""
        port = model.port or (free_port() if any("{port}" in word for word in model.command) else None)
        _ports.add(port)
        filled = {
            "{port}": str(port),
            "{model}": model.model or model.name,
            "{name}": model.name,
            "{slots}": str(model.slots or 1),
            "{key}": key,
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
        env = {**own, **model.env, leash.KEY: key, leash.OWNER: owner}
        try:
            process = await trio.lowlevel.open_process(
                [*leash_command(), *_fill(model.command, filled)],
                stdin=subprocess.PIPE,  # the leash sees its end when Foreman is gone
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,  # the terminal's Ctrl-C is for Foreman alone
            )
        except BaseException:
            _ports.discard(port)
            raise
        stop_command = _fill(model.stop_command, {**filled, "{pid}": str(process.pid)})
        return cls(process, log, f"{leash.KEY}={key}", port, partial(_stop, process, stop_command, env, log))

    async def read(self) -> None:
        """Log the output until it ends."""
        assert self._process.stdout is not None
        while data := bytes(await self._process.stdout.receive_some(READ_SIZE)):
            self._log.write(data)
            if self._port is None:
                self._look_for_port(data)

    async def wait_port(self) -> int:
        """Return the port once it is known."""
        await self._known.wait()
        assert self._port is not None
        return self._port

    def port_is_taken(self) -> bool:
        """Return True if another program listens at the port that the server was given. Ask after `end`."""
        if not self._given or self._port is None:
            return False
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not matter
            try:
                probe.bind((HOST, self._port))
            except OSError:
                return True
        return False

    async def wait(self) -> str:
        """Wait for its end and return how it ended."""
        status = await self._process.wait()
        return f"signal {status - 128}" if status > 128 else f"status {status}"

    async def end(self, *, at_once: bool) -> None:
        """Stop it, close its input, at which the leash kills the whole group, then kill the leash itself.

        It is stopped by the model's `stop_command`, else by SIGTERM; with `at_once`, for a server that hangs, SIGTERM
        is left out.
        """
        process = self._process
        with trio.CancelScope(shield=True):
            if process.returncode is None and not await self._stop() and not at_once:
                process.terminate()
                with trio.move_on_after(STOP_TIMEOUT):
                    await process.wait()
            assert process.stdin is not None and process.stdout is not None
            await trio.aclose_forcefully(process.stdin)
            with trio.move_on_after(KILL_TIMEOUT):
                await process.wait()
            if process.returncode is None:
                process.kill()
            with trio.move_on_after(KILL_TIMEOUT):
                await process.wait()
            # Needed when the leash itself was killed.
            await trio.to_thread.run_sync(leash.kill_left_behind, self._mark)
            self._read_rest()
            await trio.aclose_forcefully(process.stdout)
            if self._given:
                _ports.discard(self._port)

    def _look_for_port(self, data: bytes) -> None:
        self._said = (self._said + data)[-_MOST_SAID:]
        if found := _SERVES.search(self._said):
            self._port, self._said = int(found[1]), b""
            self._known.set()

    def _read_rest(self) -> None:
        # The last lines of output explain a crash and may still be in the pipe.
        if not isinstance(self._process.stdout, trio.lowlevel.FdStream):
            return
        with contextlib.suppress(OSError):  # empty, or closed
            for _ in range(16):
                if not (data := os.read(self._process.stdout.fileno(), READ_SIZE)):
                    break
                self._log.write(data)


def _fill(words: Sequence[str], filled: Mapping[str, str]) -> list[str]:
    result = []
    for word in words:
        for placeholder, value in filled.items():
            word = word.replace(placeholder, value)
        result.append(word)
    return result


async def _stop(process: trio.Process, command: Sequence[str], env: Mapping[str, str], log: ChildLog) -> bool:
    """Run the command that stops a server; return True once the server has ended."""
    if not command:
        return False
    with trio.move_on_after(STOP_COMMAND_TIMEOUT):
        try:
            done = await trio.run_process(
                command, check=False, capture_stdout=True, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        except OSError as error:
            log.write(f"cannot run {command[0]}: {error.strerror}\n".encode())
            return False
        log.write(done.stdout)
        if done.returncode == 0:
            await process.wait()
    return process.returncode is not None


def leash_command() -> list[str]:
    """Return the command that starts the leash, from source or from the single executable."""
    if program.frozen():
        return [*program.command(), "leash", "--"]
    # By its path, without site packages: an eighth of the start-up time, and independent of the working folder.
    return [sys.executable, "-I", "-S", str(leash.__file__), "--"]


def free_port() -> int:
    """Return a loopback port that was free a moment ago.

    Another program may take it before the server does. A server that ends for that is started with another port.
    """
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in _ports:
            return port
