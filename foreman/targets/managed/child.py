"""One run of a managed model's server, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from foreman import program
from foreman.config.settings import ManagedModel
from foreman.domain.errors import ModelCrashed, Shortage, TargetError
from foreman.shortage import shortage_in
from foreman.targets.http.pool import Client
from foreman.targets.managed import leash
from foreman.targets.managed.child_log import ChildLog
from foreman.targets.openai import OpenAITarget

STOP_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL
KILL_TIMEOUT = 5.0  # seconds for the kernel to reap a killed process
PROBE_TIMEOUT = 5.0  # seconds for one answer of the readiness path
PROBE_EVERY = (0.02, 0.25)  # seconds between probes: first, longest
LIVENESS_PROBES = 3  # failed in a row end a server; a pause of Foreman itself spoils only one
READ_SIZE = 65_536  # bytes


class Child:
    """A child server. `run` lasts as long as it; call everything else at any time from the same Trio loop."""

    def __init__(self, model: ManagedModel, logs: Path, *, owner: str) -> None:
        """Mark all processes of one target with `owner`, so that a later run finds those left behind."""
        self.model = model
        self.leaving = False  # about to be stopped: takes no new work
        self.served_as = model.model or model.name
        self._logs = logs
        self._owner = owner
        self._key = secrets.token_urlsafe(24)
        self._port = free_port()
        url = f"http://127.0.0.1:{self._port}"
        self.called = f"{model.name} for embeddings" if model.embedding else model.name
        self.voice = OpenAITarget(url, self._key, name=f"the server of {self.called}")
        self._probe = Client(url, self._key)
        self._settled = trio.Event()  # ready, or failed to become ready
        self._ended = trio.Event()
        self._stop = trio.Event()
        self._ready = False
        self._hung = False
        self._heard_at = trio.current_time()  # time of the last bytes from it
        self._doubted = trio.Event()
        self._trusted = trio.Event()  # the opposite of _doubted
        self._trusted.set()
        self._end_cause: str | None = None  # cause of an end without `stop`
        self._short: Shortage | None = None  # a temporary reason for a failed start
        self._log: ChildLog | None = None
        self._users = 0
        self._unused = trio.Event()
        self._unused.set()
        self._used_at = trio.current_time()
        self._load_ns = 0

    @property
    def ended(self) -> bool:
        """Return True if its process has ended."""
        return self._ended.is_set()

    @property
    def stopping(self) -> bool:
        """Return True once it is to be stopped, and afterwards."""
        return self._stop.is_set()

    @property
    def usable(self) -> bool:
        """Return True if it takes new work, at once or when it is ready."""
        return not (self.leaving or self.stopping or self.ended)

    @property
    def ready(self) -> bool:
        """Return True if it can answer now."""
        return self._ready and self.usable

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the child from being swapped out or counted as idle within this context."""
        self._users += 1
        if self._unused.is_set():
            self._unused = trio.Event()
        try:
            yield
        finally:
            self._users -= 1
            self._used_at = trio.current_time()
            if not self._users:
                self._unused.set()

    async def wait_ready(self) -> None:
        """Wait until it is ready. Raise ModelCrashed or Shortage if it ends or ready_timeout passes before."""
        with self.used():
            await self._settled.wait()
        if not self._ready or self.ended:
            raise self.crash()

    async def wait_trusted(self) -> None:
        """Wait for the answer to a probe if the server is in doubt, else return at once.

        A server without an answer is `stopping` when this returns.
        """
        with self.used():
            await self._trusted.wait()

    def doubt(self) -> None:
        """Probe the server now, after a call that was cancelled before its answer had ended."""
        self._doubted.set()
        if self._trusted.is_set() and not self.ended:
            self._trusted = trio.Event()

    def hearing(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Return a callback that calls `heard` and notes that the server lives."""

        def both() -> None:
            self._heard_at = trio.current_time()
            heard()

        return both

    async def wait_unused(self) -> None:
        """Wait until no call uses it."""
        while self._users:  # another call may have come between the event and this task's turn
            await self._unused.wait()

    async def wait_idle(self, seconds: float) -> None:
        """Wait until it has been unused for `seconds`."""
        while True:
            await self.wait_unused()
            left = self._used_at + seconds - trio.current_time()
            if left <= 0:
                return
            await trio.sleep(left)

    async def wait_ended(self) -> None:
        """Wait until its process has ended."""
        await self._ended.wait()

    def abandon(self) -> None:
        """Ask for its stop without waiting for its end."""
        self.leaving = True
        self._stop.set()

    async def stop(self) -> None:
        """Stop it and wait for its end."""
        self.abandon()
        await self._ended.wait()

    def take_load_ns(self) -> int:
        """Return the nanoseconds it took to become ready; 0 from the second call on.

        Only the first answer, which waited for it, reports that time.
        """
        taken, self._load_ns = self._load_ns, 0
        return taken

    def crash(self, what: str = "was stopped") -> ModelCrashed | Shortage:
        """Return the error for a call that this child can no longer answer."""
        if self._short:
            return self._short
        lines = self._log.last_lines() if self._log else []
        return ModelCrashed(self.called, self._end_cause or what, lines)

    async def run(self) -> None:
        """Start the server and watch it until it ends or `stop` is called; its processes are gone afterwards."""
        try:
            with contextlib.closing(ChildLog(self._logs, self._log_name(), self._key)) as self._log:
                process = await self._spawn()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, process)
                    nursery.start_soon(self._become_ready)
                    nursery.start_soon(self._end_when_hung)
                    nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
                    try:
                        status = await process.wait()
                        self._end_cause = self._end_cause or f"ended with {_exit_text(status)}"
                    finally:
                        await self._end(process)
                    nursery.cancel_scope.cancel()
        except OSError as error:  # from the folder of the log, or the start of the leash
            self._short = shortage_in(error)
            self._end_cause = f"could not be started: {error.strerror or error}"
        finally:
            self._probe.close()
            self.voice.close()
            self._ended.set()
            self._settled.set()
            self._trusted.set()

    def _log_name(self) -> str:
        return f"{self.model.name}-embedding" if self.model.embedding else self.model.name

    async def _spawn(self) -> trio.Process:
        own = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
        return await trio.lowlevel.open_process(
            [*leash_command(), *self._command()],
            stdin=subprocess.PIPE,  # the leash sees its end when Foreman is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**own, **self.model.env, leash.KEY: self._key, leash.OWNER: self._owner},
            start_new_session=True,  # the terminal's Ctrl-C is for Foreman alone
        )

    def _command(self) -> list[str]:
        filled = {"{port}": str(self._port), "{model}": self.served_as, "{slots}": str(self.model.slots or 1)}
        filled["{key}"] = self._key
        command = []
        for word in self.model.command:
            for placeholder, value in filled.items():
                word = word.replace(placeholder, value)
            command.append(word)
        return command

    async def _read(self, process: trio.Process) -> None:
        assert process.stdout is not None and self._log is not None
        while data := await process.stdout.receive_some(READ_SIZE):
            self._log.write(bytes(data))

    async def _become_ready(self) -> None:
        started = time.monotonic_ns()
        wait, longest = PROBE_EVERY
        with trio.move_on_after(self.model.ready_timeout):
            while not await self._answers():
                await trio.sleep(wait)
                wait = min(wait * 1.5, longest)
            self._ready = True
            self._load_ns = time.monotonic_ns() - started
            self._settled.set()
            return
        self._end_cause = f"was not ready within {self.model.ready_timeout:g} s"
        self._stop.set()

    async def _answers(self) -> bool:
        with trio.move_on_after(PROBE_TIMEOUT):
            with contextlib.suppress(TargetError):
                return await self._probe_once() == 200
        return False

    async def _probe_once(self) -> int:
        """Return the status of the readiness path. Raise TargetError when the server does not answer."""
        try:
            probe = self._probe.request("GET", self.model.ready, heard=self.hearing(lambda: None))
            async with probe as response:
                await response.read_some(READ_SIZE)
                return response.status
        finally:
            self._probe.close()  # leave a server that takes one connection at a time free for calls

    async def _end_when_hung(self) -> None:
        """Stop the server when calls wait and it answers neither them nor probes."""
        await self._settled.wait()
        pause = self.model.liveness_timeout / LIVENESS_PROBES
        while True:
            with trio.move_on_after(pause):
                await self._doubted.wait()
            quiet = self._users and self._heard_at <= trio.current_time() - pause
            if not (quiet or self._doubted.is_set()):
                continue
            missed = 0
            while not await self._shows_life(pause):
                self.doubt()  # new calls wait for the outcome
                missed += 1
                if missed == LIVENESS_PROBES:
                    self._end_cause = f"answered nothing, not even {self.model.ready}, for {pause * missed:g} s"
                    self._hung = True
                    self.abandon()
                    return
            self._doubted = trio.Event()
            self._trusted.set()

    async def _shows_life(self, seconds: float) -> bool:
        """Probe for `seconds` and return True when bytes came, be it a refusal or the answer to a call."""
        began = trio.current_time()
        with trio.move_on_after(seconds):
            while True:
                try:
                    await self._probe_once()
                except Shortage:
                    return True  # Foreman's own, unrelated to the server
                except TargetError:
                    pass
                if self._heard_at >= began:
                    return True
                await trio.sleep(PROBE_EVERY[1])
        return self._heard_at >= began

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _end(self, process: trio.Process) -> None:
        """Send SIGTERM, close its input, at which the leash kills the whole group, then kill the leash itself.

        SIGTERM is left out for a server that hangs: other calls wait for its end.
        """
        with trio.CancelScope(shield=True):
            if process.returncode is None and not self._hung:
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
            await trio.to_thread.run_sync(leash.kill_left_behind, f"{leash.KEY}={self._key}")
            self._read_rest(process)
            await trio.aclose_forcefully(process.stdout)

    def _read_rest(self, process: trio.Process) -> None:
        # The last lines of output explain a crash and may still be in the pipe.
        assert process.stdout is not None and self._log is not None
        if not isinstance(process.stdout, trio.lowlevel.FdStream):
            return
        with contextlib.suppress(OSError):  # empty, or closed
            for _ in range(16):
                if not (data := os.read(process.stdout.fileno(), READ_SIZE)):
                    break
                self._log.write(data)


def leash_command() -> list[str]:
    """Return the command that starts the leash, from source or from the single executable."""
    if program.frozen():
        return [*program.command(), "leash", "--"]
    # By its path, without site packages: an eighth of the start-up time, and independent of the working folder.
    return [sys.executable, "-I", "-S", str(leash.__file__), "--"]


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _exit_text(status: int) -> str:
    return f"signal {status - 128}" if status > 128 else f"status {status}"
