"""The members of the fleet: each target with its actors, from its start to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.auto_slots import AutoSlots, read_note
from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import NOTE, Inventory
from foreman.actors.metrics import Metrics
from foreman.actors.output import OutputHub
from foreman.actors.worker import Worker
from foreman.config.managed_model import ManagedModel
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings, models_of
from foreman.domain.errors import Draining
from foreman.domain.job import Instant
from foreman.queue.actor import QueueActor
from foreman.queue.outlook import Outlook
from foreman.targets.managed.engine import MOST_SLOTS, default_models
from foreman.targets.managed.target import ManagedTarget
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from foreman.targets.protocol import Target

log = structlog.get_logger()

Run = Callable[..., Awaitable[None]]


class Supervise(Protocol):
    """The supervision of an actor."""

    def __call__(self, name: str, run: Run, *, done: Callable[[], bool]) -> Run:
        """Return `run` under supervision; it may return once `done()`."""


@dataclass(slots=True)
class _Life:
    """One member from its start to its end."""

    member: Member
    nursery: trio.Nursery
    actors: list[str] = field(default_factory=list)  # by the names that supervision knows
    leave: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True, kw_only=True)
class Makings:
    """What the actors of each member share."""

    queue: QueueActor
    hub: OutputHub
    outlook: Outlook
    timeout: Timeouts
    clock: Callable[[], Instant]
    metrics: Metrics

    def build(
        self,
        settings: Settings,
        one: TargetSettings,
        target: Target | None = None,
        *,
        remembered: str | None = None,
        found: str | None = None,
    ) -> Member:
        """Return a target with its actors; they are connected but not started.

        `remembered` is the note with its models, `found` the one with the number of slots found, if there are any.
        """
        target = target or _target(settings, one)
        inventory = Inventory(
            target,
            self.queue,
            poll_interval=settings.poll_interval,
            known=target.listed if isinstance(target, ManagedTarget) else (),  # jobs may follow a model at once
            remembered=remembered,
            note=note_of(settings, one),
            takes=one.takes,
        )
        worker = Worker(
            self.queue,
            target,
            self.hub,
            inventory,
            self.outlook,
            name=one.name,
            others=lambda: {*self.outlook.own_sites, *self.outlook.leaving} - {one.name},
            auto=AutoSlots(
                one.name,
                on=one.fixed_slots is None,
                slots=one.fixed_slots or read_note(found),
                most=target.most_slots if isinstance(target, ManagedTarget) else lambda key: None,
            ),
            timeout=self.timeout,
            grace=settings.shutdown_grace,
            clock=self.clock,
            metrics=self.metrics,
        )
        return Member(one, target, inventory, worker)

    def change(self, member: Member, settings: Settings, one: TargetSettings) -> None:
        """Have a member work by other settings from now on; `Member.adapt` does what takes time."""
        if one.managed or one.models != member.settings.models:
            member.inventory.change(one.takes)
        member.settings = one
        member.inventory.poll_interval = settings.poll_interval
        member.worker.timeouts, member.worker.grace = self.timeout, settings.shutdown_grace
        if isinstance(member.target, ManagedTarget):
            member.target.change(_managed_models(settings, one), memory=one.memory)
        elif isinstance(member.target, OllamaTarget):
            member.target.change(settings.keep_alive, load_timeout=settings.load_timeout)


class Members:
    """Starts the members of the fleet, lets new ones join and others leave."""

    def __init__(self, fleet: Fleet, queue: QueueActor, outlook: Outlook) -> None:
        """Take the first members from the fleet."""
        self.fleet = fleet
        self._queue = queue
        self._outlook = outlook
        self._lives: dict[str, _Life] = {}
        self._nursery: trio.Nursery
        self._supervised: Supervise
        self._forget: Callable[[str], None]
        for member in fleet.members:
            queue.add_listener(member.worker.on_commit)
        self._tell_outlook()

    async def start(self, nursery: trio.Nursery, supervised: Supervise, forget: Callable[[str], None]) -> None:
        """Start all members: first their targets, then their inventories, then their workers.

        `forget` is called with the name of each actor of a member that has left.
        """
        self._nursery, self._supervised, self._forget = nursery, supervised, forget
        members = self.fleet.members
        lives = [await self._live(member) for member in members]
        for number, actor in enumerate(("target", "inventory", "worker")):
            async with trio.open_nursery() as starting:  # together, so that one that is silent delays no other
                for life in lives:
                    name = actor if len(members) == 1 else f"{actor} {life.member.name}"
                    starting.start_soon(self._start_actor, life, name, _runs(life.member)[number])

    async def drain(self, grace: float) -> None:
        """Drain the workers of all members, also of those that leave: `grace` seconds for running jobs."""
        async with trio.open_nursery() as ending:
            for life in self._lives.values():
                ending.start_soon(life.member.worker.drain, grace)

    def leave(self, name: str) -> None:
        """Have a member claim no more jobs and end once those that run have ended, or its grace has passed."""
        life = self._lives[name]
        life.member.worker.close()
        if isinstance(life.member.target, ManagedTarget):
            life.member.target.leave()
        life.leave.set()
        self._tell_outlook()

    async def wait_left(self, name: str) -> None:
        """Return once a member that leaves has ended."""
        if life := self._lives.get(name):
            await life.ended.wait()

    def arrange(self, members: Sequence[Member]) -> None:
        """Make these the members of the fleet; `join` starts those that are new."""
        for member in members:
            if member not in self.fleet.members:
                self._queue.add_listener(member.worker.on_commit)
        self.fleet.arrange(members)
        self._tell_outlook()

    async def join(self, member: Member) -> None:
        """Start a member that is new in the fleet; return once its target was asked for its models."""
        life = await self._live(member)
        for actor, run in zip(("target", "inventory", "worker"), _runs(member), strict=True):
            await self._start_actor(life, f"{actor} {member.name}", run)

    def _tell_outlook(self) -> None:
        self._outlook.leaving = [name for name, life in self._lives.items() if life.leave.is_set()]
        self._outlook.own_sites = {member.name: member for member in self.fleet.members}

    async def _start_actor(self, life: _Life, name: str, run: Run) -> None:
        life.actors.append(name)
        await life.nursery.start(self._supervised(name, run, done=life.leave.is_set))

    async def _live(self, member: Member) -> _Life:
        life: _Life = await self._nursery.start(self._keep, member)
        return life

    async def _keep(self, member: Member, *, task_status: trio.TaskStatus[_Life]) -> None:
        """Hold the actors of a member until it has left."""
        async with trio.open_nursery() as nursery:
            life = self._lives[member.name] = _Life(member, nursery)
            task_status.started(life)
            await life.leave.wait()
            async with trio.open_nursery() as ending:
                ending.start_soon(_end_jobs, member)
                ending.start_soon(_end_calls, member)
            nursery.cancel_scope.cancel()
        for actor in life.actors:
            self._forget(actor)
        self._queue.remove_listener(member.worker.on_commit)
        del self._lives[member.name]
        self._tell_outlook()
        life.ended.set()


def note_of(settings: Settings, one: TargetSettings) -> str:
    """Return the name of the note with the last known models of a target."""
    alone = len(settings.all_targets) == 1 and not settings.node
    return NOTE if alone else f"{NOTE} {one.name}"


async def _end_jobs(member: Member) -> None:
    with suppress(Draining):
        await member.worker.leave()


async def _end_calls(member: Member) -> None:
    """Give the calls past the queue the grace of jobs; those to other servers than managed ones need none of this."""
    if isinstance(member.target, ManagedTarget):
        with trio.move_on_after(member.worker.grace):
            await member.target.wait_left()


def _runs(member: Member) -> tuple[Run, Run, Run]:
    return member.target.run, member.inventory.run, member.worker.run


def _target(settings: Settings, one: TargetSettings) -> Target:
    called = one.name if settings.targets or len(settings.all_targets) > 1 else ""
    token = one.token.get_secret_value()
    if one.ollama_url:
        return OllamaTarget(
            one.ollama_url,
            token,
            settings.keep_alive,
            load_timeout=settings.load_timeout,
            name=called,
            max_loaded=one.max_loaded,
        )
    if one.openai_url:
        return OpenAITarget(one.openai_url, token, name=called, max_loaded=one.max_loaded)
    if not models_of(settings, one.name):
        log.info("no target is set: using the embedded model smollm2:135m", hint="set ollama_url or openai_url")
    return ManagedTarget(_managed_models(settings, one), settings.data_dir, name=called, memory=one.memory)


def _managed_models(settings: Settings, one: TargetSettings) -> Sequence[ManagedModel]:
    """Return the models of a managed target; without any, they are the embedded one."""
    fields = default_models(one.fixed_slots or MOST_SLOTS)
    return models_of(settings, one.name) or [ManagedModel.model_validate(model) for model in fields]


def usage_name_of(settings: Settings) -> str:
    """Return the target that usage figures of jobs without one name: the only target, else none."""
    every = settings.all_targets
    return every[0].name if len(every) == 1 else ""
