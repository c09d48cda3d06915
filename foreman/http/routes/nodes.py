"""/nodes: the Foremen that share the queue."""

from __future__ import annotations

from collections import Counter

from quart import Blueprint, Response

from foreman import __version__
from foreman.actors.membership import report_of
from foreman.domain import nodes as domain
from foreman.domain import views
from foreman.domain.job import model_of
from foreman.http.context import Context, context
from foreman.http.errors import json_answer
from foreman.store.protocol import Reader

nodes = Blueprint("nodes", __name__)


@nodes.get("/nodes")
async def every() -> Response:
    """Describe all nodes: their state, targets and load."""
    ctx = context()

    def read(store: Reader) -> tuple[list[domain.Node], Counter[str]]:
        return store.nodes(), Counter(job.target or "" for job in store.running())

    found, running = await ctx.readers.read(read)
    others = [node for node in domain.remembered(found, ctx.clock()) if node.name != ctx.settings.node]
    own = next((node for node in found if node.name == ctx.settings.node), None)
    shown = [_own(ctx, own, running), *(_shown(ctx, node, running) for node in others)]
    return json_answer(views.Nodes(sorted(shown, key=lambda node: node.name)))


def _own(ctx: Context, stored: domain.Node | None, running: Counter[str]) -> views.Node:
    """Return this node as it is now, which the others may not know yet."""
    reports = tuple(report_of(member) for member in ctx.fleet.members)
    return views.Node(
        name=ctx.settings.node_name,
        url=ctx.settings.advertised,
        version=__version__,
        state=domain.NodeState.DRAINING if ctx.draining else domain.NodeState.UP,
        asked=True,
        coordinates=ctx.coordinator() == ctx.settings.node,
        silent_seconds=0.0 if stored is None else _silent(ctx, stored),
        targets=[_target(report, running) for report in reports],
    )


def _shown(ctx: Context, node: domain.Node, running: Counter[str]) -> views.Node:
    return views.Node(
        name=node.name,
        url=node.url,
        version=node.version,
        state=node.state,
        coordinates=node.name == ctx.coordinator(),
        silent_seconds=_silent(ctx, node),
        targets=[] if node.state is domain.NodeState.GONE else [_target(one, running) for one in node.targets],
    )


def _silent(ctx: Context, node: domain.Node) -> float:
    return round(max(0.0, ctx.clock() - node.seen_at), 1)


def _target(report: domain.TargetReport, running: Counter[str]) -> views.NodeTarget:
    return views.NodeTarget(
        name=report.name,
        open=report.open,
        slots=report.slots,
        running=running[report.name],
        loaded=[model_of(key) for key in reversed(report.loaded)],
    )
