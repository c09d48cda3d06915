"""The fleet: all targets, each with its inventory and its worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import trio

from foreman.actors.inventory import ENTRY, SOME, Build, Inventory
from foreman.actors.models_elsewhere import ModelsElsewhere
from foreman.actors.worker import Worker
from foreman.config.target_settings import TargetSettings
from foreman.domain.errors import ModelNotFound, TargetDown, TargetError, TargetUnavailable
from foreman.domain.job import LoadKey
from foreman.domain.nodes import DRAINED
from foreman.domain.scheduling.room import Room
from foreman.offload import offload
from foreman.queue.commands import Note, Queue
from foreman.queue.outlook import Outlook
from foreman.targets.managed.target import ManagedTarget
from foreman.targets.protocol import Call, Model, OllamaApi, Target


@dataclass(slots=True, eq=False)
class Member:
    """One target with its actors."""

    settings: TargetSettings
    target: Target
    inventory: Inventory
    worker: Worker

    @property
    def name(self) -> str:
        """Return the target's name in jobs, metrics and commands."""
        return self.settings.name

    @property
    def slots(self) -> int:
        """Return how many jobs it runs together."""
        return self.worker.slots

    @property
    def drained(self) -> bool:
        """Return True while it takes no jobs at an operator's wish."""
        return self.worker.drained

    @property
    def version(self) -> object:
        """Return an object that is replaced whenever its models have changed."""
        return self.inventory.version

    @property
    def open(self) -> bool:
        """Return True while it takes jobs. Safe in any thread, as all of the following is."""
        return self.inventory.up and not self.worker.drained and not self.worker.draining

    @property
    def models_known(self) -> bool:
        """Return True once it has listed its models; a target that is being replaced may come to have others."""
        return self.inventory.models_known and not self.worker.draining

    def is_loaded(self, key: LoadKey) -> bool:
        """Return True if a job of the key can start here without loading."""
        return self.worker.is_loaded(key)

    def in_memory(self) -> Sequence[LoadKey]:
        """Return the load keys that it has loaded, as far as is known."""
        return self.target.in_memory()

    def room(self) -> Room:
        """Return which load keys it may work on together."""
        return self.target.room()

    def slots_of(self, key: LoadKey) -> int | None:
        """Return how many jobs of the key it runs together, where they are fewer than its slots."""
        return self.target.slots_of(key)

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        """Return True if jobs of the key may run here, by the names of the last probe. Safe in any thread."""
        return self.inventory.of_key(key) is not None and (endpoint is None or self.target.serves(endpoint))

    async def adapt(self) -> None:
        """Bring the actors in line with changed settings and managed models, while jobs run."""
        self.worker.auto.change(self.settings.fixed_slots)
        await self.worker.resize(self.worker.auto.slots)  # the slots look again, also for another room
        await self.inventory.renew()

    def named(self, call: Call) -> Call:
        """Return the call with a name of its model that this target knows: another one may differ."""
        model, payload = self.inventory.named(call.model, call.key, call.payload)
        return call if model == call.model else msgspec.structs.replace(call, model=model, payload=payload)


class Fleet:
    """All targets in the order of the settings."""

    def __init__(
        self,
        members: Sequence[Member],
        queue: Queue,
        *,
        drained: str | None = None,
        note: str = DRAINED,
        elsewhere: ModelsElsewhere | None = None,
    ) -> None:
        """Keep the names of drained targets in the note `note`; `drained` is what it has of an earlier run.

        `elsewhere` are the models of other nodes, which count as models of the fleet.
        """
        self.elsewhere = elsewhere or ModelsElsewhere(Outlook())
        self._members = {member.name: member for member in members}
        self.rearranged = trio.Event()  # replaced when members have come or gone
        self._queue = queue
        self._note = note
        for name in _names(drained):
            if member := self._members.get(name):
                member.worker.start_drained()
        self._building = trio.Lock()
        self._built: dict[Build, tuple[Sequence[Sequence[Model]], bytes]] = {}

    @property
    def members(self) -> Sequence[Member]:
        """Return the members in order."""
        return list(self._members.values())

    def get(self, name: str) -> Member | None:
        """Return the member of this name, or None."""
        return self._members.get(name)

    def arrange(self, members: Sequence[Member]) -> None:
        """Make these the members, at least one; one that replaces a drained one of its name is drained too."""
        for member in members:
            before = self._members.get(member.name)
            if before is not None and before.drained:
                member.worker.start_drained()
        self._members = {member.name: member for member in members}
        self.rearranged.set()
        self.rearranged = trio.Event()

    @property
    def up(self) -> bool:
        """Return True if no target is away."""
        return all(member.inventory.up for member in self._members.values())

    @property
    def any_up(self) -> bool:
        """Return True if a target answers, here or at another node."""
        return any(member.inventory.up for member in self._members.values()) or self.elsewhere.any_open

    @property
    def error(self) -> TargetError | None:
        """Return the error of the first target that is away, if any."""
        return next((one.inventory.error for one in self._members.values() if one.inventory.error is not None), None)

    @property
    def silent(self) -> float:
        """Seconds for which a target has not answered the probe under way; 0 without one."""
        return max(member.inventory.silent for member in self._members.values())

    @property
    def slots(self) -> int:
        """Return the number of slots of all targets."""
        return sum(member.slots for member in self._members.values())

    def loaded(self) -> list[tuple[Member, LoadKey]]:
        """Return the load keys that the targets have loaded, as far as is known."""
        return [(member, key) for member in self._members.values() for key in reversed(member.in_memory())]

    def serving(self, key: LoadKey, endpoint: str | None = None) -> list[Member]:
        """Return the members that serve the key, those that are up first."""
        return [member for member in self._by_state() if member.serves(key, endpoint)]

    def find(self, name: str) -> Model | None:
        """Return the model with this name or alias, else None.

        Targets that are up go before those that are away, and these before those of other nodes.
        """
        for member in self._by_state():
            if (model := member.inventory.find(name)) is not None:
                return model
        return self.elsewhere.find(name)

    def find_here(self, name: str) -> Model | None:
        """Return the model with this name or alias, or with another node's name for it, of a target here, else None."""
        for member in self._by_state():
            if (model := member.inventory.find(name) or member.inventory.of_key(name)) is not None:
                return model
        return None

    def takes_calls(self, key: LoadKey) -> bool:
        """Return True if a target here serves the key, is up and not drained."""
        return any(member.open for member in self.serving(key))

    async def resolve(self, name: str) -> Model:
        """Return the model with this name or alias; look at the targets once more when it is unknown.

        Raises:
            ModelNotFound: No target has such a model.
            TargetDown: The model is unknown, and a target is away or has not listed its models yet.
        """
        found = self.find(name)
        if found is None:
            async with trio.open_nursery() as nursery:
                for member in self._members.values():
                    nursery.start_soon(member.inventory.look_for_more)
            found = self.find(name)
        if found is None:
            if (error := self.error or self._unlisted() or self.elsewhere.why_unknown()) is not None:
                raise TargetDown(name, error)
            alone = len(self._members) == 1 and not self.elsewhere.lists()
            where = "the target has" if alone else "the targets have"
            raise ModelNotFound(name, [model.name for model in self.models()[:SOME]], where=where)
        return found

    def _unlisted(self) -> TargetError | None:
        """Return the error of the first target whose models are not known yet, if any."""
        names = (member.target.name for member in self._members.values() if not member.models_known)
        return next((TargetUnavailable(name, "it has not listed its models yet") for name in names), None)

    def models(self) -> list[Model]:
        """Return the models of all targets and nodes; of one that several have, the first target's entry.

        Ollama's `name:latest` is another target's `name`.
        """
        found: list[Model] = []
        known: set[str] = set()  # of the targets before
        for models in self._lists():
            own = [(model.name.removesuffix(":latest"), model) for model in models]
            found += [model for name, model in own if name not in known]
            known.update(name for name, _ in own)
        return found

    async def shown(self, build: Build) -> bytes:
        """Return `build(models)` for the models of all targets, cached until they change."""
        async with self._building:
            lists = self._lists()
            built = self._built.get(build)
            if built is None or not _same(built[0], lists):
                size = sum(map(len, lists)) * ENTRY
                built = self._built[build] = lists, await offload(size, build, self.models())
            return built[1]

    def _lists(self) -> list[Sequence[Model]]:
        return [*(member.inventory.models for member in self._members.values()), *self.elsewhere.lists()]

    async def drain(self, member: Member) -> None:
        """Have a target take no more jobs, also after restarts; after the grace its running ones are requeued."""
        await member.worker.stop_claiming()
        await self._keep_drained()

    async def resume(self, member: Member) -> None:
        """Have a target take jobs again."""
        member.worker.claim_again()
        await self._keep_drained()

    async def _keep_drained(self) -> None:
        names = [member.name for member in self._members.values() if member.drained]
        await self._queue.ask(Note(name=self._note, value=msgspec.json.encode(names).decode()))

    def look(self) -> None:
        """Request a probe of each target soon."""
        for member in self._members.values():
            member.inventory.look()

    async def probe(self) -> None:
        """Ask the targets for their models now."""
        async with trio.open_nursery() as nursery:
            for member in self._members.values():
                nursery.start_soon(member.inventory.probe)

    @property
    def ollama_api(self) -> OllamaApi | None:
        """Return the API of the only target, if that is an Ollama server; with several, Foreman's own answers."""
        only = list(self._members.values())
        return only[0].target.ollama_api if len(only) == 1 else None

    @property
    def ollama_lists(self) -> OllamaApi | None:
        """Return `ollama_api` where the server's lists of models are Foreman's own: all of them run here."""
        others = any(member.settings.models for member in self._members.values()) or self.elsewhere.lists()
        return None if others else self.ollama_api

    def ollama_api_of(self, name: str) -> OllamaApi | None:
        """Return the API of the target that has the model of this name or alias, if it is an Ollama server."""
        member = next((member for member in self._by_state() if member.inventory.find(name) is not None), None)
        return member.target.ollama_api if member else None

    def ollama_server(self) -> OllamaApi | None:
        """Return the API of the first Ollama server, one that is up if any, else None."""
        return next((api for member in self._by_state() if (api := member.target.ollama_api)), None)

    def managed(self) -> list[ManagedTarget]:
        """Return the targets whose servers Foreman starts."""
        return [one.target for one in self._members.values() if isinstance(one.target, ManagedTarget)]

    def managing(self, model: str) -> list[ManagedTarget]:
        """Return those of them with a model of this name or alias; drained ones only where no other has it."""
        having = [target for target in self.managed() if model in target.names]
        drained = [member.target for member in self._members.values() if member.drained]
        return [target for target in having if target not in drained] or having

    def _by_state(self) -> list[Member]:
        """Return the members, those that are up first."""
        up = [member for member in self._members.values() if member.inventory.up]
        if len(up) == len(self._members):
            return up
        return [*up, *(member for member in self._members.values() if not member.inventory.up)]


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _names(note: str | None) -> list[str]:
    try:
        return msgspec.json.decode(note or "[]", type=list[str])
    except msgspec.DecodeError:
        return []
