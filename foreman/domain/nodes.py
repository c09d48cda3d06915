"""The nodes of a fleet: Foremen that share one store."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from foreman.domain.job import Instant, LoadKey, model_of
from foreman.domain.scheduling.room import Room

DRAINED = "drained"  # the note with the names of drained targets, as JSON; with @ and a node's name it is that node's
FORGOTTEN = 86400.0  # seconds for which the jobs of a node that is gone wait for it to come back


class NodeState(StrEnum):
    """The state of a node."""

    UP = "up"
    DRAINING = "draining"  # it claims no more jobs and is about to leave
    GONE = "gone"  # it has left, or was evicted


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of a node's targets, as the node tells the others of it."""

    name: str  # unique in the fleet: `NAME@NODE`
    slots: int
    open: bool  # it takes jobs
    models_known: bool  # it has listed its models
    is_ollama: bool = False  # its names are equal as Ollama has it
    models: frozenset[str] = frozenset()  # names and aliases, as given and in their canonical form, without `:latest`
    endpoints: frozenset[str] = frozenset()
    loaded: tuple[LoadKey, ...] = ()
    listing: msgspec.Raw = msgspec.Raw(b"[]")  # its models with the server's own entries, as JSON
    room: Room = msgspec.field(default_factory=Room)

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        """Return True if jobs of the key, and of the endpoint, may run there."""
        named = model_of(key).removesuffix(":latest") in self.models
        return named and (endpoint is None or endpoint in self.endpoints)


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A Foreman among those that share a store. All times are the store's."""

    name: str
    url: str | None  # where the others reach it
    version: str  # of its program
    epoch: int  # grows whenever it joins, or is evicted
    state: NodeState
    seen_at: Instant  # when it last wrote
    heard_since: Instant  # since when it has written without a long pause
    targets: tuple[TargetReport, ...] = ()


def remembered(nodes: Iterable[Node], now: Instant) -> list[Node]:
    """Return the nodes without those that have been gone for long: nobody waits for their models any more."""
    return [node for node in nodes if node.state is not NodeState.GONE or now - node.seen_at < FORGOTTEN]


def silent(nodes: Iterable[Node], judge: str, *, now: Instant, lease: float) -> list[Node]:
    """Return the nodes to be evicted by the node `judge`: those that have not written for `lease` seconds.

    Only a node that has itself written all that time may judge. So nobody is evicted because the store was away, or
    because the judge stood still.
    """
    every = {node.name: node for node in nodes}
    own = every.get(judge)
    if own is None or now - own.heard_since < lease:
        return []
    return [
        node
        for node in every.values()
        if node is not own and node.state is not NodeState.GONE and now - node.seen_at > lease
    ]
