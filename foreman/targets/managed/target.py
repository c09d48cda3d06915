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

from foreman.config.managed_model import ManagedModel
from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.errors import NotServed, TargetLost, TargetRefused, TargetUnavailable
from foreman.domain.job import LoadKey, model_of
from foreman.domain.scheduling.room import Room
from foreman.offload import offload
from foreman.targets.http.connection import Response
from foreman.targets.http.parser import Body, Header
from foreman.targets.managed import leash
from foreman.targets.managed.child import Child
from foreman.targets.managed.child_log import file_name, log_files
from foreman.targets.managed.crash import Watched, explained
from foreman.targets.managed.entries import listed
from foreman.targets.managed.eviction import in_the_way
from foreman.targets.openai import StaticAnswer, rfc3339
from foreman.targets.protocol import Call, Model

log = structlog.get_logger()

ONLY = "managed"  # the name of the target that there is without a table of targets

Place: TypeAlias = tuple[str, bool]  # the name of a model, and True for its embedding server


class ManagedTarget:
    """Several models, of which as many are loaded as fit in its memory; those for embeddings stay loaded beside them.

    It never raises TargetUnavailable: after any error the next load starts a new server.
    """

    def __init__(
        self, models: Sequence[ManagedModel], data_dir: Path, *, name: str = ONLY, memory: int | None = None
    ) -> None:
        """Take the target's models, and the bytes of `memory` for them; None is room for one model at a time.

        The output of the children goes to `data_dir`/logs, that of a target with a name of its own to a folder in
        there. Several targets of one `data_dir` need different names.
        """
        self._own_name = "" if name == ONLY else name
        self.name = self.address = self._own_name or "managed models"
        self._room = _room(models, memory)
        self._budgeted = memory is not None
        self._preloaded = [model for model in models if model.preload]
        named = [(name, model) for model in models for name in (model.name, *model.aliases)]
        self._chatting = {name: model for name, model in named if not model.embedding}
        self._embedding = {name: model for name, model in named if model.embedding}
        self._listed = listed(models)
        self._data_dir = data_dir.absolute()
        self._logs = self._data_dir / "logs" / (file_name(name) if self._own_name else "")
        self.logs = log_files(models, self._logs)
        self._owner = ""
        self._children: dict[Place, Child] = {}  # the latest of each model
        self._loaded: LoadKey | None = None
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()
        self._swap = trio.Lock()
        self._rested = trio.Event()  # replaced each time that a child has no more calls, or has ended

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the child servers until cancelled; first kill those that an earlier run left behind."""
        self._owner = _identity(self._data_dir, self._own_name)
        if left := await trio.to_thread.run_sync(leash.kill_left_behind, f"{leash.OWNER}={self._owner}"):
            log.warning("ended what servers of an earlier run left behind", processes=left)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._running.set()
                task_status.started()
                for model in self._preloaded:
                    await self._preload(model)
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

    def in_memory(self) -> Sequence[LoadKey]:
        """See `Target.in_memory`."""
        ready = [name for (name, embedding), child in list(self._children.items()) if child.ready and not embedding]
        last = self._loaded
        return sorted(ready, key=lambda name: last is not None and name == model_of(last))

    def room(self) -> Room:
        """See `Target.room`."""
        return self._room

    def slots_of(self, key: LoadKey) -> int | None:
        """Return how many jobs of the key the model's server takes at once; None is as many as the target has slots."""
        model = self._wanted(model_of(key), embedding=False)
        return model.concurrency if model else None

    def serves(self, endpoint: str) -> bool:
        """See `Target.serves`."""
        return True

    async def load(self, call: Call) -> None:
        """Start the model's server, in place of others if need be, and wait until it is ready. Raise ModelCrashed."""
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
        """Return True if a chat model's server would have to be started, and there is no memory left for it.

        Without a budget it is True of any start: a job may be about to load another model in the only place.
        """
        model = self._wanted(call.model, embedding=at(call.endpoint).past_queue)
        if model is None or model.embedding:
            return False
        child = self._children.get(_place(model))
        if child is not None and child.usable:
            return False
        return not self._budgeted or bool(in_the_way(model, self._running_children(), self._room))

    async def count(self, path: str, call: Call) -> bytes:
        """See `Target.count`; the model is loaded first, as for any call."""
        child = await self._ready_child(call)
        async with child.admitted():
            return await child.voice.count(path, call, served_as=child.served_as)

    async def unload(self, model: str) -> None:
        """Stop the model's server once it is unused; one that only serves embeddings beside it stays."""
        if child := self._child(model):
            await child.retire()

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
        async with child.admitted():
            begun = False
            try:
                asked = child.voice.answer(call, served_as=child.served_as, load_ns=child.take_load_ns())
                async with asked as chunks:
                    begun = True
                    yield Watched(chunks, child)
            except (TargetLost, TargetUnavailable) as error:
                if begun:
                    raise  # Watched has explained it
                raise await explained(error, child) from error
            except trio.Cancelled:
                child.doubt()
                raise

    @property
    def names(self) -> list[str]:
        """Return the names and aliases of all models."""
        return list(dict.fromkeys([*self._chatting, *self._embedding]))

    @asynccontextmanager
    async def serving(self, name: str) -> AsyncIterator[Child]:
        """Load the model and give its server, which stays loaded within this context."""
        model = self._wanted(name, embedding=False)
        if model is None:
            raise TargetRefused(404, f"model '{name}' not found")
        child = await self._ready(model)
        if not model.embedding:
            self._loaded = model.name
        async with child.admitted():
            yield child

    @asynccontextmanager
    async def pass_on(
        self,
        child: Child,
        method: str,
        path: str,
        body: Body | None,
        *,
        length: int | None,
        headers: Sequence[Header],
    ) -> AsyncIterator[Response]:
        """Send a request to a server that `serving` gave, and return the response, whatever its status."""
        heard = child.hearing(lambda: None)
        try:
            async with child.voice.pass_on(method, path, body, length=length, headers=headers, heard=heard) as response:
                yield response
        except (TargetLost, TargetUnavailable) as error:
            raise await explained(error, child) from error
        except trio.Cancelled:
            child.doubt()
            raise

    async def _ready_child(self, call: Call) -> Child:
        model = self._wanted(call.model, embedding=at(call.endpoint).past_queue)
        if model is None:
            raise TargetRefused(404, f"model '{call.model}' not found")
        if model.embedding and not at(call.endpoint).past_queue:
            raise NotServed(f"the embedding model {model.name}", call.endpoint)
        child = await self._ready(model)
        if not model.embedding:
            self._loaded = call.key
        return child

    async def _ready(self, model: ManagedModel) -> Child:
        while True:
            child = await self._chosen_child(model)
            await child.wait_ready()
            await child.wait_trusted()
            if not child.stopping:
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
        """Stop what must make room for the model, as soon as no call uses it; calls for it wait behind this one."""
        try:
            while going := in_the_way(model, self._running_children(), self._room):
                for child in self._children.values():
                    child.leaving = child.stopping or child in going
                rested = self._rested  # before the look at what is in use
                unused = [child for child in going if not child.in_use]
                for child in unused:
                    child.abandon()
                await (unused[0].wait_ended() if unused else rested.wait())
        finally:
            for child in self._children.values():
                child.leaving = child.stopping  # usable again if this was cancelled, or another one made room

    def _running_children(self) -> list[Child]:
        return [child for child in self._children.values() if not child.ended]

    def _at_rest(self) -> None:
        self._rested.set()
        self._rested = trio.Event()

    async def _preload(self, model: ManagedModel) -> None:
        """Start the server of a model if there is room for it now, and wait until it is ready or has failed."""
        async with self._swap:
            if (child := self._children.get(_place(model))) and child.usable:
                return
            if in_the_way(model, self._running_children(), self._room):
                log.warning("a model is not preloaded: there is no room beside the others", model=model.name)
                return
            child = await self._start(model)
        await child.wait_settled()
        if not (child.ready or child.stopping):
            log.warning("a model could not be preloaded", model=model.name, why=str(child.crash()))
        elif self._loaded is None and child.ready and not model.embedding:
            self._loaded = model.name

    async def _start(self, model: ManagedModel) -> Child:
        await self._running.wait()
        assert self._nursery is not None
        child = self._children[_place(model)] = Child(model, self._logs, owner=self._owner, at_rest=self._at_rest)
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


async def _retire_when_idle(child: Child) -> None:
    await child.wait_idle(child.model.ttl)
    child.abandon()


def _identity(folder: Path, name: str) -> str:
    """Return a unique name of a target: of its folder, even in another container's, and its own `name` in there."""
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}:{folder}" + (f":{name}" if name else "")


def _room(models: Sequence[ManagedModel], memory: int | None) -> Room:
    """Return the room for chat models in `memory` bytes, from which that of embedding servers is taken."""
    if memory is None:
        return Room.memory(0, {})
    aside = sum(model.memory or 0 for model in models if model.embedding)
    sizes = {model.name: model.memory for model in models if model.memory and not model.embedding}
    return Room.memory(max(0, memory - aside), sizes)


def _place(model: ManagedModel) -> Place:
    return model.name, model.embedding
