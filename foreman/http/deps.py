"""What the routes may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from quart import current_app

from foreman.actors.embeddings import Embeddings
from foreman.actors.inventory import Inventory
from foreman.actors.relay import Relay
from foreman.actors.worker import Worker
from foreman.http.gate import Gate
from foreman.job import Instant
from foreman.messages import Queue
from foreman.settings import Settings
from foreman.store.readers import Readers
from foreman.targets.protocol import Target

KEY = "foreman"


@dataclass(slots=True, kw_only=True)
class Deps:
    settings: Settings
    queue: Queue
    readers: Readers
    relay: Relay
    inventory: Inventory
    worker: Worker
    embeddings: Embeddings
    target: Target
    gate: Gate
    clock: Callable[[], Instant]
    draining: bool = False


def deps() -> Deps:
    """The ones of the app that serves this request."""
    return cast(Deps, current_app.extensions[KEY])
