"""The views that are lists: jobs, targets, batches and nodes, as rows; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from rich.text import Text

from foreman.cli.columns import lay_out
from foreman.cli.console import ago, between, state_text
from foreman.cli.plain import one_line, plain
from foreman.cli.watch.now_view import ids_at
from foreman.cli.watch.screen import Row, View
from foreman.client import Batched, Job, Node, Target

BATCH_STYLES = {"completed": "green", "failed": "red", "cancelled": "magenta", "expired": "magenta"}
NODE_STYLES = {"up": "green", "draining": "yellow", "gone": "red"}
LEAST_OF_PROMPT = 30  # columns

_Cells = Sequence[str | Text]


def list_rows(
    view: View, items: Sequence[Job] | Sequence[Target] | Sequence[Batched] | Sequence[Node], width: int, now: datetime
) -> tuple[Text, list[Row]]:
    """Return the line of heads and the rows of a view."""
    jobs = [one for one in items if isinstance(one, Job)]
    match view:
        case "batches":
            return _batches([one for one in items if isinstance(one, Batched)], width, now)
        case "targets":
            return _targets([one for one in items if isinstance(one, Target)], width)
        case "nodes":
            return _nodes([one for one in items if isinstance(one, Node)], width)
    return _jobs(jobs, width, now)


def _jobs(jobs: Sequence[Job], width: int, now: datetime) -> tuple[Text, list[Row]]:
    heads = ("STATE", "ID", "AGE", "TOOK", "CLASS", "CALLER", "TARGET", "MODEL", "PROMPT OR ERROR")
    cells = [
        (
            state_text(job.state),
            job.job_id[-ids_at(width) :],
            ago((now - job.created_at).total_seconds()),
            between(job.started_at, job.completed_at),
            Text(plain(job.priority), style={"high": "bold", "low": "dim"}.get(job.priority, "")),
            job.caller or "",
            job.target or "",
            job.model,
            Text(one_line(job.error), style="red") if job.error else job.prompt_excerpt or "",
        )
        for job in jobs
    ]
    spare = ("CALLER", "TARGET", "CLASS", "TOOK")
    title, lines = _laid_out(heads, cells, width, spare, ("AGE", "TOOK"), {heads[-1]: LEAST_OF_PROMPT})
    rows = [Row(f"job {job.job_id}", (line,), job.job_id) for job, line in zip(jobs, lines, strict=True)]
    return title, rows


def _targets(targets: Sequence[Target], width: int) -> tuple[Text, list[Row]]:
    heads = ("TARGET", "STATE", "RUNNING", "DONE", "TOKENS/S", "KIND", "LOADED")
    cells = [
        (
            one.name,
            _state_of(one),
            f"{one.running}/{one.slots}",
            f"{one.jobs_done:,}",
            f"{one.tokens_per_second:,.1f}" if one.tokens_per_second else "",
            one.kind,
            one.error if one.error and not one.up else ", ".join(loaded.model for loaded in one.loaded),
        )
        for one in targets
    ]
    title, lines = _laid_out(heads, cells, width, ("KIND", "TOKENS/S", "DONE"), ("RUNNING", "DONE", "TOKENS/S"))
    return title, [Row(f"target {one.name}", (line,)) for one, line in zip(targets, lines, strict=True)]


def _state_of(target: Target) -> Text:
    if not target.up:
        since = "" if target.away_seconds is None else f" {ago(target.away_seconds)}"
        return Text(f"away{since}", style="red")
    if target.draining:
        return Text("draining" if target.running else "drained", style="yellow")
    return Text("up", style="green")


def _batches(batches: Sequence[Batched], width: int, now: datetime) -> tuple[Text, list[Row]]:
    heads = ("BATCH", "STATE", "DONE", "FAILED", "LINES", "LEFT", "AGE", "MODEL", "NAME")
    cells = [
        (
            one.batch_id[-ids_at(width) :],
            Text(plain(one.state.replace("_", " ")), style=BATCH_STYLES.get(one.state, "blue")),
            f"{one.done:,}",
            f"{one.failed:,}" if one.failed else "",
            f"{one.total:,}" if one.total is not None else "",
            ago(one.eta_seconds) if one.eta_seconds else "",
            ago((now - one.created_at).total_seconds()),
            one.model or "",
            one.name or "",
        )
        for one in batches
    ]
    right = ("DONE", "FAILED", "LINES", "LEFT", "AGE")
    title, lines = _laid_out(heads, cells, width, ("AGE", "MODEL", "LEFT"), right)
    rows = [Row(f"batch {one.batch_id}", (line,), "", one.batch_id) for one, line in zip(batches, lines, strict=True)]
    return title, rows


def _nodes(nodes: Sequence[Node], width: int) -> tuple[Text, list[Row]]:
    heads = ("NODE", "STATE", "RUNNING", "SEEN", "VERSION", "URL", "LOADED")
    cells = [
        (
            f"{one.name} *" if one.coordinates else one.name,
            Text(plain(one.state), style=NODE_STYLES.get(one.state, "")),
            f"{sum(target.running for target in one.targets)}/{sum(target.slots for target in one.targets)}",
            f"{ago(one.silent_seconds)} ago",
            one.version,
            one.url or "",
            ", ".join(dict.fromkeys(model for target in one.targets for model in target.loaded)),
        )
        for one in nodes
    ]
    title, lines = _laid_out(heads, cells, width, ("URL", "VERSION"), ("RUNNING",))
    return title, [Row(f"node {one.name}", (line,)) for one, line in zip(nodes, lines, strict=True)]


def _laid_out(
    heads: Sequence[str],
    cells: Sequence[_Cells],
    width: int,
    spare: Sequence[str],
    right: Collection[str],
    keeps: Mapping[str, int] | None = None,
) -> tuple[Text, list[Text]]:
    texts = [[Text(one_line(cell)) if isinstance(cell, str) else cell for cell in row] for row in cells]
    title, *lines = lay_out(heads, texts, width, spare=spare, right=right, keeps=keeps)
    return title, lines
