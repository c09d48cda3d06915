"""The context: the actors and settings that routes use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import trio
from quart.globals import _cv_app

from foreman.actors.batches import Batches
from foreman.actors.blobs import Blobs
from foreman.actors.calls_elsewhere import CallsElsewhere
from foreman.actors.feed import Feed
from foreman.actors.fleet import Fleet
from foreman.actors.metrics import Metrics
from foreman.actors.output import OutputHub
from foreman.actors.past_queue import PastQueue
from foreman.actors.pushes import Pushes
from foreman.actors.remote_output import RemoteOutputs
from foreman.actors.upstream import Upstream
from foreman.actors.webhook_sender import WebhookSender
from foreman.budget import Budget
from foreman.config.settings import Settings
from foreman.domain import views
from foreman.domain.intake import Intake
from foreman.domain.job import Instant
from foreman.domain.rate import Rate
from foreman.http.auth import Auth
from foreman.queue.commands import Queue
from foreman.queue.outlook import Outlook
from foreman.store.readers import Readers
from foreman.watchdog import Watchdog

KEY = "foreman"


@dataclass(slots=True, kw_only=True)
class Context:
    """The parts of the app that routes use."""

    settings: Settings
    queue: Queue
    readers: Readers
    hub: OutputHub
    fleet: Fleet
    intake: Intake
    outlook: Outlook
    past_queue: PastQueue
    upstream: Upstream
    auth: Auth
    blobs: Blobs
    batches: Batches
    rate: Rate
    budget: Budget
    clock: Callable[[], Instant]
    feed: Feed
    sender: WebhookSender
    metrics: Metrics
    watchdog: Watchdog
    store_away: Callable[[], bool]  # True while the database's server cannot be reached
    log_size: Callable[[], int | None]  # bytes of the database's log, unless a server keeps it
    boot_id: str  # identifies this run of the process
    remote_outputs: RemoteOutputs | None = None  # where other nodes share the store
    pushes: Pushes | None = None  # where other nodes share the store
    calls_elsewhere: CallsElsewhere | None = None  # where other nodes share the store
    reload: Callable[[], Awaitable[views.Reloaded]] = field(init=False)  # reads the settings again
    coordinator: Callable[[], str] = lambda: ""  # the node that sends webhooks; empty for a Foreman alone
    leaving: trio.Event = field(default_factory=trio.Event)  # set once no new jobs are accepted

    @property
    def draining(self) -> bool:
        """True once no new jobs are accepted."""
        return self.leaving.is_set()


def context() -> Context:
    """Return the context of the app that serves the current request."""
    return cast(Context, _cv_app.get().app.extensions[KEY])  # current_app is slower
