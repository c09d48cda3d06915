"""Views of the nodes: Foremen that share a queue."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.nodes import NodeState
from foreman.domain.views.kinds import AtLeastOne, Count, Seconds, about


class NodeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target of a node."""

    name: str
    open: Annotated[bool, about("It takes jobs: it is up and not drained.")] = True
    slots: Annotated[AtLeastOne, about("Jobs that it runs together now.")] = 1
    running: Annotated[Count, about("Jobs that run there now.")] = 0
    loaded: Annotated[list[str], about("The models that it has loaded, the one used last first.")] = []


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A Foreman among those that share the queue."""

    name: str
    url: Annotated[str | None, about("Where the others reach it; null where they cannot.")] = None
    version: str = ""
    state: Annotated[NodeState, about("`gone` is one that has left, or was silent for too long.")] = NodeState.UP
    asked: Annotated[bool, about("This is the one that answers.")] = False
    coordinates: Annotated[bool, about("It sends the webhooks and removes old jobs.")] = False
    silent_seconds: Annotated[Seconds, about("Since it last wrote to the queue.")] = 0.0
    targets: list[NodeTarget] = []


class Nodes(msgspec.Struct, frozen=True):
    """All nodes, by name; a Foreman with a queue of its own is the only one."""

    nodes: list[Node] = []
