"""Fixtures of the actors."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.auto_slots import AutoSlots
from foreman.actors.inventory import Inventory
from foreman.actors.output import OutputHub
from foreman.actors.worker import Worker
from foreman.budget import Budget
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.choose import OrderRules
from foreman.queue.actor import QueueActor
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import EVEN, App, FakeTarget, Script, inline, now, saying
from tests.support.sites import only_site


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield store
    store.close()


@pytest.fixture
def start_app(store: SqliteWriter, nursery: trio.Nursery) -> Callable[..., Awaitable[App]]:
    """Starts the queue, the inventory and the worker over a target."""

    async def start(
        *scripts: Script,
        target: FakeTarget | None = None,
        slots: int = 1,
        auto: AutoSlots | None = None,
        timeout: Timeouts | None = None,
        rules: JobRules | None = None,
        budget: Budget | None = None,
        threaded: bool = False,
    ) -> App:
        target = target or FakeTarget(list(scripts) or [saying("hello")])
        rules = rules or JobRules(backoff=Backoff(2, 300))
        outlook = only_site(OrderRules(slots=slots))
        clock = time.time if threaded else now  # a thread has no Trio's time
        handlers = CommandHandlers(store, rules, outlook, clock=clock, chance=lambda: EVEN)
        queue = QueueActor(handlers, in_thread=None if threaded else inline)
        hub = OutputHub(budget)
        inventory = Inventory(target, queue, poll_interval=30)
        worker = Worker(
            queue, target, hub, inventory, outlook, auto=auto or AutoSlots(slots=slots), timeout=timeout, clock=clock
        )
        app = App(store, queue, worker, outlook, hub, inventory, target, [], nursery)
        for listener in (hub.on_commit, worker.on_commit, app.on_commit):
            queue.add_listener(listener)
        for actor in (queue.run, inventory.run, worker.run):
            await nursery.start(actor)
        return app

    return start
