"""One run of a managed model's server, from its start to its end."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import trio

from foreman.config.managed_model import ManagedModel
from foreman.domain.endpoints.question import Edits
from foreman.domain.errors import ModelCrashed, Shortage, TargetError
from foreman.shortage import shortage_in
from foreman.targets.http.pool import Client
from foreman.targets.managed.child_log import ChildLog, log_name
from foreman.targets.managed.server_process import HOST, READ_SIZE, ServerProcess
from foreman.targets.openai import OpenAITarget

log = structlog.get_logger()

PORTS = 3  # tried, when other programs take them before the server does
PROBE_TIMEOUT = 5.0  # seconds for one answer of the readiness path
PROBE_EVERY = (0.02, 0.25)  # seconds between probes: first, longest
LIVENESS_PROBES = 3  # failed in a row end a server; a pause of Foreman itself spoils only one


class Child:
    """A child server. `run` lasts as long as it; call everything else at any time from the same Trio loop."""

    def __init__(
        self, model: ManagedModel, logs: Path, *, owner: str, at_rest: Callable[[], None] = lambda: None
    ) -> None:
        """Mark all processes of one target with `owner`, so that a later run finds those left behind.

        `at_rest` is called each time that its last call has ended, and when its process has.
        """
        self.model = model
        self.leaving = False  # to make room for another one: takes no new work
        self.dismissed = False  # takes no new work for good
        self._retirements = 0  # under way
        self.served_as = model.model or model.name
        self._logs = logs
        self._owner = owner
        self._key = secrets.token_urlsafe(24)
        self.called = f"{model.name} for embeddings" if model.embedding else model.name
        self.port = 0  # where it listens; 0 until that is known
        self.voice: OpenAITarget  # for calls, once it is ready
        self._probe: Client
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
        self._at_rest = at_rest
        self._places = trio.Semaphore(model.concurrency) if model.concurrency else None
        self._users = 0
        self._unused = trio.Event()
        self._unused.set()
        self.used_at = trio.current_time()  # the end of the last call
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
    def in_use(self) -> bool:
        """Return True while a call uses it or waits for it."""
        return self._users > 0

    @property
    def usable(self) -> bool:
        """Return True if it takes new work, at once or when it is ready."""
        return not (self.leaving or self.dismissed or self._retirements or self.stopping or self.ended)

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
            self.used_at = trio.current_time()
            if not self._users:
                self._unused.set()
                if self.dismissed:
                    self.abandon()
                self._at_rest()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for one of the model's `concurrency` places and hold it within this context, as `used` does."""
        with self.used():
            async with self._places or contextlib.nullcontext():
                yield

    async def wait_ready(self) -> None:
        """Wait until it is ready. Raise ModelCrashed or Shortage if it ends or ready_timeout passes before."""
        with self.used():
            await self._settled.wait()
        if not self._ready or self.ended:
            raise self.crash()

    async def wait_settled(self) -> None:
        """Wait until it is ready or has failed to become so; meanwhile it may be stopped for another one."""
        await self._settled.wait()

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
            left = self.used_at + seconds - trio.current_time()
            if left <= 0:
                return
            await trio.sleep(left)

    async def wait_ended(self) -> None:
        """Wait until its process has ended."""
        await self._ended.wait()

    def abandon(self) -> None:
        """Ask for its stop without waiting for its end."""
        self._stop.set()

    async def stop(self) -> None:
        """Stop it and wait for its end."""
        self.abandon()
        await self._ended.wait()

    async def retire(self) -> None:
        """Stop it as soon as no call uses it; meanwhile it takes no new work."""
        self._retirements += 1
        try:
            await self.wait_unused()
            await self.stop()
        finally:
            self._retirements -= 1

    def dismiss(self) -> None:
        """Take no new work for good, and stop as soon as no call uses it; at once if it is not ready yet.

        Calls that wait for it to be ready are then told that it was stopped.
        """
        self.dismissed = True
        if not (self._ready and self._users):
            self.abandon()

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
            with contextlib.closing(ChildLog(self._logs, log_name(self.model), self._key)) as self._log:
                for _ in range(PORTS):
                    self._end_cause = None
                    server = await ServerProcess.start(self.model, self._log, key=self._key, owner=self._owner)
                    await self._watch(server)
                    if self._ready or self.stopping or not server.port_is_taken():
                        break
                    log.info("another program took the port of a managed model", model=self.model.name)
        except OSError as error:  # from the folder of the log, or the start of the leash
            self._short = shortage_in(error)
            self._end_cause = f"could not be started: {error.strerror or error}"
        finally:
            self._ended.set()
            self._settled.set()
            self._trusted.set()
            self._at_rest()

    async def _watch(self, server: ServerProcess) -> None:
        """Return once the server has ended; its processes are gone then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.read)
                nursery.start_soon(self._become_ready, server)
                nursery.start_soon(self._end_when_hung)
                nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
                try:
                    status = await server.wait()
                    self._end_cause = self._end_cause or f"ended with {status}"
                finally:
                    await server.end(at_once=self._hung)  # other calls wait for the end of one that hangs
                nursery.cancel_scope.cancel()
        finally:
            if self.port:
                self._probe.close()
                self.voice.close()

    def _reach(self, port: int) -> None:
        """Have calls and probes go to `port`."""
        self.port = port
        url = f"http://{HOST}:{port}"
        edits = Edits(frozenset(self.model.strip), self.model.set) if self.model.strip or self.model.set else None
        self.voice = OpenAITarget(url, self._key, name=f"the server of {self.called}", edits=edits)
        self._probe = Client(url, self._key)

    async def _become_ready(self, server: ServerProcess) -> None:
        started = time.monotonic_ns()
        wait, longest = PROBE_EVERY
        with trio.move_on_after(self.model.ready_timeout):
            self._reach(await server.wait_port())
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
