"""The target for managed models: calls go to their child servers, which are started for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
import trio

from foreman.config.managed_model import ManagedModel
from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.errors import NotServed, TargetDrained, TargetLost, TargetRefused, TargetUnavailable
from foreman.domain.job import LoadKey, model_of
from foreman.domain.scheduling.room import Room
from foreman.offload import offload
from foreman.targets.http.connection import Response
from foreman.targets.http.parser import Body, Header
from foreman.targets.managed.child import Child
from foreman.targets.managed.child_log import file_name, log_files
from foreman.targets.managed.children import Children, Find
from foreman.targets.managed.crash import Watched, explained
from foreman.targets.managed.roster import Roster
from foreman.targets.openai import StaticAnswer, rfc3339
from foreman.targets.protocol import Call, Model

log = structlog.get_logger()

ONLY = "managed"  # the name of the target that there is without a table of targets


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
        self._data_dir = data_dir.absolute()
        self._logs = self._data_dir / "logs" / (file_name(name) if self._own_name else "")
        self._children = Children(Roster(models, memory), self._logs)
        self._listed = self._roster  # as the inventory knows it
        self._left = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the child servers until cancelled; first kill those that an earlier run left behind."""
        await self._children.run(_identity(self._data_dir, self._own_name), task_status=task_status)

    def change(self, models: Sequence[ManagedModel], *, memory: int | None) -> None:
        """Take over other models and another budget at once, and keep the servers of models that are the same.

        The server of a model that is gone or has changed gives the answers under way, takes no new calls, and ends; a
        call that waits for it is answered by the new one, or refused.
        """
        self._children.change(Roster(models, memory))

    def leave(self) -> None:
        """Take no new calls, for good; the servers give the answers under way, and end.

        A call that waits for a server raises TargetDrained: another target may have its model.
        """
        self._left = True
        self._children.end()

    async def wait_left(self) -> None:
        """Return once the last server has ended."""
        await self._children.wait_ended()

    @property
    def ollama_api(self) -> None:
        """See `Target.ollama_api`: the children have none."""
        return None

    async def boot_id(self) -> str | None:
        """See `Target.boot_id`: a child is no Foreman."""
        return None

    @property
    def listed(self) -> Sequence[Model]:
        """Return the models of the settings."""
        return self._roster.listed

    async def models(self) -> list[Model]:
        """Return the models of the settings."""
        self._listed = self._roster
        return list(self._roster.listed)

    def same(self, name: str) -> str:
        """See `Target.same`: names are compared letter by letter."""
        return name

    def in_memory(self) -> Sequence[LoadKey]:
        """See `Target.in_memory`."""
        latest = list(self._children.latest.items())
        ready = [name for (name, embedding), child in latest if child.ready and not embedding]
        last = self._children.last_key
        return sorted(ready, key=lambda name: last is not None and name == model_of(last))

    def room(self) -> Room:
        """See `Target.room`."""
        return self._roster.room

    def slots_of(self, key: LoadKey) -> int | None:
        """Return how many jobs of the key the model's server takes at once; None is as many as the target has slots."""
        model = self._roster.find(model_of(key))
        return model.concurrency if model else None

    def most_slots(self, key: LoadKey) -> int | None:
        """Return how many jobs of the key the model's server was started for; None if its command does not say."""
        model = self._roster.find(model_of(key))
        if model is None:
            return None
        return model.concurrency or (model.slots if any("{slots}" in word for word in model.command) else None)

    def serves(self, endpoint: str) -> bool:
        """See `Target.serves`."""
        return True

    async def load(self, call: Call) -> None:
        """Start the model's server, in place of others if need be, and wait until it is ready. Raise ModelCrashed."""
        if await offload(len(call.payload), at(call.endpoint).only_loads, call.payload) != "unload":
            await self._ready_child(call)

    def is_loaded(self, key: LoadKey) -> bool:
        """See `Target.is_loaded`."""
        child = self._children.of(self._roster.find(model_of(key)))
        return child is not None and child.ready

    def displaces(self, call: Call) -> bool:
        """Return True if a chat model's server would have to be started, and there may be no memory left for it."""
        model = self._roster.find(call.model, embedding=at(call.endpoint).past_queue)
        return model is not None and not model.embedding and self._children.would_displace(model)

    async def count(self, path: str, call: Call) -> bytes:
        """See `Target.count`; the model is loaded first, as for any call."""
        child = await self._ready_child(call)
        async with child.admitted():
            return await child.voice.count(path, call, served_as=child.served_as)

    async def unload(self, model: str) -> None:
        """Stop the model's server once it is unused; one that only serves embeddings beside it stays."""
        if child := self._children.of(self._roster.find(model)):
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
        return self._roster.names

    @property
    def logs(self) -> Mapping[str, Path]:
        """Return the files that the servers' output goes to, by model."""
        return log_files(self._roster.models, self._logs)

    @asynccontextmanager
    async def serving(self, name: str) -> AsyncIterator[Child]:
        """Load the model and give its server, which stays loaded within this context."""
        child = await self._children.ready(self._finder(name))
        if not child.model.embedding:
            self._children.last_key = child.model.name
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

    @property
    def _roster(self) -> Roster:
        return self._children.roster

    async def _ready_child(self, call: Call) -> Child:
        past_queue = at(call.endpoint).past_queue
        find = self._finder(call.model, embedding=past_queue, known=self._listed.find(call.model) is not None)

        def find_for_endpoint() -> ManagedModel:
            model = find()
            if model.embedding and not past_queue:
                raise NotServed(f"the embedding model {model.name}", call.endpoint)
            return model

        child = await self._children.ready(find_for_endpoint)
        if not child.model.embedding:
            self._children.last_key = call.key
        return child

    def _finder(self, name: str, *, embedding: bool = False, known: bool = False) -> Find:
        """Return a function that looks the model up, for one call, as often as it has waited.

        It refuses a model that no target has. One that the call found before, or that is `known` to have been here,
        may have moved to another target: then it raises TargetDrained.
        """

        def find() -> ManagedModel:
            nonlocal known
            if self._left:
                raise TargetDrained(self.name, "has been removed")
            model = self._roster.find(name, embedding=embedding)
            if model is None:
                if known:
                    raise TargetDrained(self.name, f"no longer has the model {name}")
                raise TargetRefused(404, f"model '{name}' not found")
            known = True
            return model

        return find


def _identity(folder: Path, name: str) -> str:
    """Return a unique name of a target: of its folder, even in another container's, and its own `name` in there."""
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}:{folder}" + (f":{name}" if name else "")
