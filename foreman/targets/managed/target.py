"""The target for managed models; chooses which child server is started, swapped or stopped."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
import structlog
import trio

from foreman.config.settings import ManagedModel
from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.errors import NotServed, TargetError, TargetLost, TargetRefused, TargetUnavailable
from foreman.domain.job import LoadKey, model_of
from foreman.offload import offload
from foreman.targets.managed import leash
from foreman.targets.managed.child import Child
from foreman.targets.managed.gguf import size_of
from foreman.targets.openai import StaticAnswer, rfc3339
from foreman.targets.protocol import Call, Model

log = structlog.get_logger()

Place: TypeAlias = tuple[str, bool]  # the name of a model, and True for its embedding server

DEATH_TIMEOUT = 1.0  # seconds to wait for the end of a child after a broken connection


class ManagedTarget:
    """Several models, of which one is loaded at a time; those for embeddings stay loaded beside it.

    It never raises TargetUnavailable: after any error the next load starts a new server.
    """

    name = address = "managed models"

    def __init__(self, models: Sequence[ManagedModel], data_dir: Path) -> None:
        """Write the output of the children to `data_dir`/logs; each target needs a `data_dir` of its own."""
        named = [(name, model) for model in models for name in (model.name, *model.aliases)]
        self._chatting = {name: model for name, model in named if not model.embedding}
        self._embedding = {name: model for name, model in named if model.embedding}
        self._listed = _listed(models)
        self._logs = data_dir.absolute() / "logs"
        self._owner = ""
        self._children: dict[Place, Child] = {}  # the latest of each model
        self._loaded: LoadKey | None = None
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._swap = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the child servers until cancelled; first kill those that an earlier run left behind."""
        self._owner = _identity(self._logs.parent)
        if left := await trio.to_thread.run_sync(leash.kill_left_behind, f"{leash.OWNER}={self._owner}"):
            log.warning("ended what servers of an earlier run left behind", processes=left)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._running.set()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._running = trio.Event()
            self._children.clear()
            self._loaded = None

    @property
    def ollama_api(self) -> None:
        """See `Target.ollama_api`: the children have none."""
        return None

    async def boot_id(self) -> str | None:
        """See `Target.boot_id`: a child is no Foreman."""
        return None

    async def models(self) -> list[Model]:
        """Return the models of the settings."""
        return list(self._listed)

    def same(self, name: str) -> str:
        """See `Target.same`: names are compared letter by letter."""
        return name

    async def load(self, call: Call) -> None:
        """Start the model's server in place of the loaded one and wait until it is ready. Raise ModelCrashed."""
        if await offload(len(call.payload), at(call.endpoint).only_loads, call.payload) != "unload":
            await self._ready_child(call)

    def is_loaded(self, key: LoadKey) -> bool:
        """See `Target.is_loaded`."""
        child = self._child(model_of(key))
        return child is not None and child.ready

    def loaded(self) -> LoadKey | None:
        """See `Target.loaded`."""
        return self._loaded if self._loaded and self.is_loaded(self._loaded) else None

    def displaces(self, call: Call) -> bool:
        """Return True if a chat model's server would have to be started, which may displace another one."""
        model = self._wanted(call.model, embedding=at(call.endpoint).past_queue)
        if model is None or model.embedding:
            return False
        child = self._children.get(_place(model))
        return child is None or not child.usable

    async def count(self, path: str, call: Call) -> bytes:
        """See `Target.count`; the model is loaded first, as for any call."""
        child = await self._ready_child(call)
        with child.used():
            return await child.voice.count(path, call, served_as=child.served_as)

    async def unload(self, model: str) -> None:
        """Stop the model's server once it is unused; one that only serves embeddings beside it stays."""
        async with self._swap:
            child = self._child(model)
            if child is not None:
                await _retire(child)

    @asynccontextmanager
    async def answer(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Target.answer`."""
        endpoint = at(call.endpoint)
        reason = await offload(len(call.payload), endpoint.only_loads, call.payload)
        if reason is not None:
            await (self.unload(call.model) if reason == "unload" else self._ready_child(call))
            yield StaticAnswer(endpoint.loaded(call.model, rfc3339(time.time()), reason))
            return
        child = await self._ready_child(call)
        call = msgspec.structs.replace(call, heard=child.hearing(call.heard))
        with child.used():
            begun = False
            try:
                asked = child.voice.answer(call, served_as=child.served_as, load_ns=child.take_load_ns())
                async with asked as chunks:
                    begun = True
                    yield _Watched(chunks, child)
            except (TargetLost, TargetUnavailable) as error:
                if begun:
                    raise  # _Watched has explained it
                raise await _explained(error, child) from error
            except trio.Cancelled:
                child.doubt()
                raise

    async def _ready_child(self, call: Call) -> Child:
        model = self._wanted(call.model, embedding=at(call.endpoint).past_queue)
        if model is None:
            raise TargetRefused(404, f"model '{call.model}' not found")
        if model.embedding and not at(call.endpoint).past_queue:
            raise NotServed(f"the embedding model {model.name}", call.endpoint)
        while True:
            child = await self._chosen_child(model)
            await child.wait_ready()
            await child.wait_trusted()
            if not child.stopping:
                break
        if not model.embedding:
            self._loaded = call.key
        return child

    async def _chosen_child(self, model: ManagedModel) -> Child:
        child = self._children.get(_place(model))
        if child is None or not child.usable:
            # The lock covers only the choice; all calls for the same child then wait for it together.
            async with self._swap:
                child = self._children.get(_place(model))
                if child is None or not child.usable:
                    await self._make_room(model)
                    child = await self._start(model)
        return child

    def _wanted(self, name: str, *, embedding: bool) -> ManagedModel | None:
        """Return the model that serves such a call, or the one of that name that refuses it."""
        first, second = (self._embedding, self._chatting) if embedding else (self._chatting, self._embedding)
        return first.get(name) or second.get(name)

    def _child(self, name: str) -> Child | None:
        model = self._wanted(name, embedding=False)
        return self._children.get(_place(model)) if model else None

    async def _make_room(self, model: ManagedModel) -> None:
        for other in list(self._children.values()):
            if _place(other.model) == _place(model) or not (other.model.embedding or model.embedding):
                await _retire(other)

    async def _start(self, model: ManagedModel) -> Child:
        await self._running.wait()
        assert self._nursery is not None
        child = self._children[_place(model)] = Child(model, self._logs, owner=self._owner)
        self._nursery.start_soon(self._keep, child)
        return child

    async def _keep(self, child: Child) -> None:
        async with trio.open_nursery() as nursery:
            if child.model.ttl:
                nursery.start_soon(_retire_when_idle, child)
            await child.run()
            nursery.cancel_scope.cancel()
        if self._children.get(_place(child.model)) is child:
            del self._children[_place(child.model)]


class _Watched:
    """The chunks of a child; if it crashes, the error has its last lines of output."""

    def __init__(self, chunks: AsyncIterator[Chunk], child: Child) -> None:
        self._chunks = chunks
        self._child = child

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._chunks.__anext__()
        except (TargetLost, TargetUnavailable) as error:
            raise await _explained(error, self._child) from error


async def _explained(error: TargetError, child: Child) -> TargetError:
    """Return the error for a broken connection: the crash of the child, or `error` if it runs on.

    A child that runs but refuses connections is stopped and counts as crashed.
    """
    with trio.move_on_after(DEATH_TIMEOUT):
        await child.wait_ended()
    if child.ended or child.leaving:
        return child.crash()
    if isinstance(error, TargetUnavailable):
        child.abandon()
        return child.crash("refuses connections")
    return error


async def _retire(child: Child) -> None:
    """Stop a child as soon as it is unused; a new one may be started when this returns."""
    child.leaving = True
    try:
        await child.wait_unused()
        await child.stop()
    finally:
        child.leaving = child.stopping  # usable again if this was cancelled before the stop


async def _retire_when_idle(child: Child) -> None:
    await child.wait_idle(child.model.ttl)
    child.abandon()


def _identity(folder: Path) -> str:
    """Return a unique name of a folder, different even for another container's folder at the same path."""
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}:{folder}"


def _place(model: ManagedModel) -> Place:
    return model.name, model.embedding


def _details(model: ManagedModel) -> dict[str, object]:
    """Return the details of a model known before its server runs: tokens of context, bytes of its files."""
    known = {"max_model_len": model.context, "size": size_of(model)}
    return {name: value for name, value in known.items() if value is not None}


def _listed(models: Sequence[ManagedModel]) -> list[Model]:
    """Return one inventory entry for each name; a name with a chat and an embedding server lists both capabilities."""
    listed: dict[str, Model] = {}
    for model in sorted(models, key=lambda model: model.embedding):
        known = listed.get(model.name)
        if known is None:
            details = msgspec.Raw(msgspec.json.encode(_details(model)))
            aliases = tuple(model.aliases)
            listed[model.name] = Model(name=model.name, aliases=aliases, embedding=model.embedding, details=details)
        else:
            both = tuple(dict.fromkeys((*known.aliases, *model.aliases)))
            told = known.told() | {"capabilities": ["completion", "tools", "embedding"]}
            details = msgspec.Raw(msgspec.json.encode(told))
            listed[model.name] = Model(name=model.name, aliases=both, details=details)
    return list(listed.values())
