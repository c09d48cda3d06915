"""The actors over a real store and a scripted target; with the autojump clock, nothing here waits for real."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import trio

from foreman.actors.blobs import Blobs
from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import Inventory
from foreman.actors.output import OutputHub
from foreman.actors.worker import Worker
from foreman.config.target_settings import TargetSettings
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import ForemanError, NotServed, TargetError
from foreman.domain.job import Draft, Job, State
from foreman.domain.scheduling.room import Room
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Commit, Submit
from foreman.queue.outlook import Outlook
from foreman.store.protocol import Reader
from foreman.store.readers import Readers
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.protocol import Call, Model

T = TypeVar("T")

START = 1_000_000.0  # when the tests' clocks begin
EVEN = 0.5  # a chance that leaves every delay as it is

Script = Callable[[Call], AsyncIterator[Chunk]]


def chunk(text: str = "", *, last: bool = False) -> Chunk:
    done = b',"done_reason":"stop"' if last else b""
    message = b'"message":{"role":"assistant","content":"%s"}' % text.encode()
    return Chunk(b'{"model":"m",%s,"done":%s%s}' % (message, b"true" if last else b"false", done), last=last)


def saying(*words: str, seconds: float = 0) -> Script:
    """Says the words, each after a pause, and ends."""

    async def script(call: Call) -> AsyncIterator[Chunk]:
        for word in words:
            await trio.sleep(seconds)
            yield chunk(word)
        yield chunk(last=True)

    return script


def failing(error: ForemanError, *words: str) -> Script:
    """Says the words, then fails."""

    async def script(call: Call) -> AsyncIterator[Chunk]:
        for word in words:
            yield chunk(word)
        await trio.lowlevel.checkpoint()
        raise error

    return script


def silent(*words: str) -> Script:
    """Says the words, then nothing more."""

    async def script(call: Call) -> AsyncIterator[Chunk]:
        for word in words:
            yield chunk(word)
        await trio.sleep_forever()

    return script


class PlainTarget:
    """What targets in tests have in common: a server of its own that has every endpoint and counts no tokens."""

    name: str

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    @property
    def ollama_api(self) -> None:
        return None

    async def boot_id(self) -> str | None:
        return None

    def same(self, name: str) -> str:
        return name

    def serves(self, endpoint: str) -> bool:
        return True

    def slots_of(self, key: str) -> int | None:
        return None

    def displaces(self, call: Call) -> bool:
        return False

    async def count(self, path: str, call: Call) -> bytes:
        raise NotServed(self.name, path)


@dataclass
class FakeTarget(PlainTarget):
    """A target that follows scripts, one an answer; the last one again and again."""

    scripts: list[Script] = field(default_factory=lambda: [saying("hello")])
    load_seconds: float = 0
    slow: float = 0  # seconds until it lists its models
    down: TargetError | None = None
    inventory: list[str] = field(default_factory=lambda: ["m", "a", "b", "c"])
    name: str = "the target"
    address: str = "the target"
    loads: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)  # payloads, in order
    probes: list[float] = field(default_factory=list)
    together: int = 0  # answers under way
    most_together: int = 0
    left_early: int = 0
    in_memory_now: str | None = None

    async def models(self) -> list[Model]:
        self.probes.append(trio.current_time())
        await trio.sleep(self.slow)
        if self.down:
            raise self.down
        return [Model(name=name) for name in self.inventory]

    async def load(self, call: Call) -> None:
        if self.in_memory_now == call.key:
            return
        await trio.sleep(self.load_seconds)
        if self.down:
            raise self.down
        self.loads.append(call.key)
        self.in_memory_now = call.key

    def is_loaded(self, key: str) -> bool:
        return self.in_memory_now == key

    def in_memory(self) -> Sequence[str]:
        return () if self.in_memory_now is None else (self.in_memory_now,)

    def room(self) -> Room:
        return Room.count(1)

    @asynccontextmanager
    async def answer(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        if self.down:
            raise self.down
        self.answered.append(call.payload.decode())
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        chunks = script(call)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            yield chunks
        except BaseException:
            self.left_early += 1
            raise
        finally:
            self.together -= 1
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


async def inline(function: Callable[..., T], /, *args: object) -> T:
    """In place of a thread, which the autojump clock would not wait for."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class IdleWorker:
    """A worker that runs nothing, for what only asks how busy it is."""

    slots = 1
    running = 0
    drained = False
    draining = False


def fleet_of(*targets: tuple[FakeTarget, Inventory]) -> Fleet:
    """A fleet whose workers are idle."""
    settings = [TargetSettings(name=f"t{number}", managed=True) for number in range(1, len(targets) + 1)]
    pairs = zip(settings, targets, strict=True)
    members = [Member(one, target, inventory, cast(Worker, IdleWorker())) for one, (target, inventory) in pairs]
    return Fleet(members, targets[0][1]._queue)


class InlineReaders(Readers):
    """Reads on the event loop, for the same reason."""

    async def read(self, question: Callable[[Reader], T]) -> T:
        await trio.lowlevel.checkpoint()
        with self._free[0].snapshot():
            answer = question(self._free[0])
        await trio.lowlevel.checkpoint()
        return answer


def blobs_of(queue: QueueActor, store: SqliteWriter) -> Blobs:
    """The blobs of a store, on the event loop."""
    return Blobs(store.blobs, queue, InlineReaders(store), in_thread=inline)


def draft(number: int = 1, model: str = "m", **fields: Any) -> Draft:
    plain: dict[str, Any] = {"endpoint": "/api/chat", "payload": b"%d" % number, "key": model}
    return Draft(**({"id": f"{number:03}", "model": model} | plain | fields))


@dataclass
class App:
    """The actors that a job meets, at work."""

    store: SqliteWriter
    queue: QueueActor
    worker: Worker
    outlook: Outlook
    hub: OutputHub
    inventory: Inventory
    target: FakeTarget
    commits: list[Commit]
    nursery: trio.Nursery
    _news: trio.Event = field(default_factory=trio.Event)

    def on_commit(self, commit: Commit) -> None:
        self.commits.append(commit)
        self._news.set()
        self._news = trio.Event()

    async def submit(self, *drafts: Draft) -> None:
        for one in drafts:
            await self.queue.ask(Submit(draft=one))

    def job(self, number: int = 1) -> Job:
        job = self.store.job(f"{number:03}")
        assert job is not None
        return job

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a commit makes it so; with the autojump clock, never for real."""
        with trio.fail_after(1_000_000):
            while not condition():
                await self._news.wait()

    async def until_state(self, state: State, number: int = 1) -> Job:
        await self.until(lambda: self.job(number).state is state)
        return self.job(number)

    def states(self, number: int = 1) -> list[str]:
        return [event.state.value for event in self.store.events(job_id=f"{number:03}", limit=99)]


def now() -> float:
    return START + trio.current_time()
