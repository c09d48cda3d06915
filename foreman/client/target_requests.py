"""Requests about the targets, and the nodes that they belong to; no I/O."""

from __future__ import annotations

from foreman.client.quoting import quoted
from foreman.client.requests import Ask
from foreman.client.writing import encode
from foreman.domain.views import Nodes, Target, TargetLog, Targets

LONGEST_LOAD = 86400.0  # seconds; Foreman ends a load or unload earlier, by its own timeouts


def nodes() -> Ask[Nodes]:
    """List the Foremen that share the queue."""
    return Ask(Nodes, "/nodes")


def targets() -> Ask[Targets]:
    """List the targets."""
    return Ask(Targets, "/targets")


def drain(target: str) -> Ask[Target]:
    """Have a target take no more jobs."""
    return Ask(Target, f"/targets/{quoted(target)}/drain", "POST")


def resume_target(target: str) -> Ask[Target]:
    """Have a target take jobs again."""
    return Ask(Target, f"/targets/{quoted(target)}/resume", "POST")


def load(target: str, model: str) -> Ask[Target]:
    """Load a model on a target."""
    return _order(target, "load", model)


def unload(target: str, model: str) -> Ask[Target]:
    """Unload a model of a target."""
    return _order(target, "unload", model)


def target_log(target: str, lines: int | None = None) -> Ask[TargetLog]:
    """Read the last lines of a target's managed servers."""
    params = {} if lines is None else {"lines": str(lines)}
    return Ask(TargetLog, f"/targets/{quoted(target)}/log", params=params)


def _order(target: str, verb: str, model: str) -> Ask[Target]:
    headers = {"Content-Type": "application/json"}
    path = f"/targets/{quoted(target)}/{verb}"
    return Ask(Target, path, "POST", headers=headers, body=encode({"model": model}), held=LONGEST_LOAD)
