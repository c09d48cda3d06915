"""The inventory: the target's models, and whether the target is up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import structlog
import trio

from foreman.domain.errors import TargetError, TargetUnavailable
from foreman.domain.job import LoadKey, model_of
from foreman.offload import offload
from foreman.queue.commands import Note, Queue
from foreman.targets.protocol import Model, Target

log = structlog.get_logger()

Build: TypeAlias = Callable[[Sequence[Model]], bytes]

PROBE_DEADLINE = 5.0  # seconds
DEGRADED_POLL = 1.0  # seconds between probes while the target is away
MISSED = 2.0  # seconds between probes for unknown names, however many names there are
ENTRY = 100  # bytes of a model in a list, about
LOOKED_AT = 1.0  # seconds between probes while the health route is read
SOME = 10  # models named in the error model_not_found
NOTE = "inventory"  # where the last known models are kept over restarts


class Inventory:
    """The target's models, by polling. `up` is False while the target is away; work waits for `wait_up`."""

    def __init__(
        self,
        target: Target,
        queue: Queue,
        *,
        poll_interval: float,
        known: Sequence[Model] = (),
        remembered: str | None = None,
        note: str = NOTE,
        takes: Callable[[str], bool] = lambda name: True,
    ) -> None:
        """Keep the last known models in the note `note`; leave out those of which `takes` takes no name.

        Until the first probe the models are those of the note, given as `remembered`, or those that are `known`.
        """
        self._target = target
        self._note = note
        self._takes = takes
        self._queue = queue
        self.poll_interval = poll_interval  # seconds; another one counts from the next probe on
        self._probing = trio.Lock()
        self._missed_at = -math.inf  # when the target was last probed for an unknown name
        self._probes = 0
        self._asked_at = -math.inf
        self._answered = True
        self._wanted = trio.Event()  # a probe before its time
        self._came_up = trio.Event()
        self._went_down = trio.Event()
        self.up = True  # until a probe says otherwise
        self._went_at = 0.0  # when it went away the last time
        self.models_known = False  # True once the target has listed its models, and `takes` is still the same
        self._changes = 0  # of `takes`
        self.error: TargetError | None = None
        self.models: Sequence[Model] = _read(remembered) if remembered else self._taken(known)
        self._index = self._indexed(self.models)
        self._by_key: tuple[dict[str, Model], dict[LoadKey, Model | None]] = self._index, {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe for ever: every `poll_interval` seconds, every second while the target is away or `look` is called."""
        await self.probe()
        task_status.started()
        while True:
            if self.up:
                with trio.move_on_after(self.poll_interval):
                    await self._wanted.wait()
            if not self.up:
                await trio.sleep(DEGRADED_POLL)
            await self.probe()

    async def probe(self) -> None:
        """Ask the target for its models now. Concurrent callers share one request."""
        asked = self._probes
        async with self._probing:
            if self._probes != asked:
                return
            self._asked_at, self._answered, self._wanted = trio.current_time(), False, trio.Event()
            changes = self._changes
            try:
                with trio.fail_after(PROBE_DEADLINE):
                    models = await self._target.models()
            except trio.TooSlowError:
                self.report_down(TargetUnavailable(self._target.name, f"no answer within {PROBE_DEADLINE:g} s"))
            except TargetError as error:
                self.report_down(error)
            else:
                await self._learn(models, changes)
            self._answered = True
            self._probes += 1

    def change(self, takes: Callable[[str], bool]) -> None:
        """Take the models of which `takes` takes a name, from the next listing on; see `renew`."""
        self._takes = takes
        self._changes += 1
        self.models_known = False

    async def renew(self) -> None:
        """Ask the target for its models anew; a probe that is under way does not count."""
        if self._probing.locked():  # one that began before
            await self.probe()
        await self.probe()

    def look(self) -> None:
        """Request a probe soon, unless one began within the last second."""
        if trio.current_time() - self._asked_at >= LOOKED_AT:
            self._wanted.set()

    @property
    def silent(self) -> float:
        """Seconds for which the target has not answered the probe under way; 0 without one."""
        return 0.0 if self._answered else trio.current_time() - self._asked_at

    @property
    def away_seconds(self) -> float | None:
        """Seconds since the target went away; None while it is up."""
        return None if self.up else trio.current_time() - self._went_at

    async def look_for_more(self) -> None:
        """Probe the target for an unknown name, unless it is away or was probed for another one a moment ago."""
        if self.up and trio.current_time() - self._missed_at >= MISSED:
            await self.probe()
            self._missed_at = trio.current_time()

    async def wait_up(self) -> None:
        """Return once the target is up."""
        while not self.up:
            await self._came_up.wait()

    async def wait_down(self) -> None:
        """Return once the target is away."""
        while self.up:
            await self._went_down.wait()

    def report_down(self, error: TargetError) -> None:
        """Mark the target as away: work waits until a probe reaches it."""
        self.error = error
        if self.up:
            self.up, self._went_at = False, trio.current_time()
            log.warning("target is away", target=self._target.address, why=str(error))
            self._went_down.set()
            self._went_down = trio.Event()
            self._wanted.set()

    async def _learn(self, listed: list[Model], changes: int) -> None:
        models = self._taken(listed)
        index = await offload(len(models) * ENTRY, self._indexed_if_new, models)
        self.error = None
        if index is not None:
            self.models, self._index = models, index
        news = index is not None or not (self.models_known or self._probes == 0)  # the worker starts after the first
        self.models_known = changes == self._changes
        if not self.up:
            self.up = True
            log.info("target is back", models=len(models))
            self._came_up.set()
            self._came_up = trio.Event()
        if news:  # the commit has waiting jobs looked at again
            value = await offload(len(models) * ENTRY, lambda: msgspec.json.encode(models).decode())
            await self._queue.tell(Note(name=self._note, value=value))

    def _taken(self, listed: Sequence[Model]) -> list[Model]:
        return [one for one in listed if any(map(self._takes, (one.name, *one.aliases)))]

    def find(self, name: str) -> Model | None:
        """Return the model with this name or alias from the last probe, else None."""
        return self._index.get(self._target.same(name))

    @property
    def version(self) -> object:
        """Return an object that is replaced whenever the models have changed."""
        return self._index

    def of_key(self, key: LoadKey) -> Model | None:
        """Return the model of a load key, which another target may have named; None if the target does not have it.

        Ollama calls a model `name:latest` that other kinds of server call `name`. Safe in any thread.
        """
        index, known = self._by_key
        if index is not self._index:
            index, known = self._by_key = self._index, {}
        if key not in known:
            model = model_of(key)
            known[key] = index.get(self._target.same(model)) or index.get(
                self._target.same(model.removesuffix(":latest"))
            )
        return known[key]

    def named(self, model: str, key: LoadKey, payload: bytes) -> tuple[str, bytes]:
        """Return a name for `model` that this target knows, which may be another one, and the payload with it."""
        if self.find(model) is not None or (found := self.of_key(key)) is None:
            return model, payload
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        fields["model"] = msgspec.Raw(msgspec.json.encode(found.name))
        return found.name, msgspec.json.encode(fields)

    def _indexed_if_new(self, models: list[Model]) -> dict[str, Model] | None:
        return None if models == self.models else self._indexed(models)

    def _indexed(self, models: Sequence[Model]) -> dict[str, Model]:
        """Return the models by name and alias. A name goes before an alias, and the first model before later ones."""
        index: dict[str, Model] = {}
        for model in models:
            index.setdefault(self._target.same(model.name), model)
        for model in models:
            for alias in model.aliases:
                index.setdefault(self._target.same(alias), model)
        return index


def _read(remembered: str) -> list[Model]:
    """Return the models of a note; none when it is unreadable, since the first probe brings them anyway."""
    try:
        return msgspec.json.decode(remembered, type=list[Model])
    except msgspec.DecodeError as error:
        log.warning("cannot read the remembered models", why=str(error))
        return []
