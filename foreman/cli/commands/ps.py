"""`foreman ps`: the running and waiting jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click
import msgspec
from rich.text import Text

from foreman.cli.console import between, on_several_targets, show_table, span, state_text
from foreman.cli.exit_codes import epilog
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Client, Job, Page, Queue, Running, requests
from foreman.client.reading import decode

MOST_WAITING = 500  # waiting jobs in one answer of the API
HEADS = ("ID", "STATE", "PRIORITY", "FOR", "READY IN", "TARGET", "MODEL")


@click.command(
    epilog=epilog("foreman ps", "foreman ps --quiet | xargs foreman cancel"),
    short_help="List running and waiting jobs.",
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, MOST_WAITING),
    default=20,
    show_default=True,
    metavar="N",
    help=f"Waiting jobs to list, up to {MOST_WAITING}.",
)
@click.option("--json", "as_json", is_flag=True, help='Print the answer of GET /queue, with "waiting": […].')
@quiet()
@reaches_foreman
def ps(limit: int, as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the running jobs, and the waiting ones in the order in which they would start.

    Jobs that wait for their not_before are left out. TARGET is shown where there are several. Standard error shows how
    many jobs run and wait, the loaded models, and what holds the queue up.
    """
    with Client(url, token) as client:
        raw, waiting = client.raw(requests.queue()), client.raw(requests.waiting(limit))
        found, then = decode(raw, Queue), decode(waiting, Page).jobs
        why = client.health().target_error if found.degraded and not (as_json or quiet) else None
    if as_json:
        shown = decode(raw, dict[str, msgspec.Raw])
        shown["waiting"] = decode(waiting, dict[str, msgspec.Raw])["jobs"]
        print_json(shown)
        return
    if quiet:
        print_ids([job.job_id for job in found.running] + [job.job_id for job in then])
        return
    click.echo(one_line(summary(found, why)), err=True)
    if found.running or then:
        now = datetime.now(UTC)
        rows = [*(_running(job, now) for job in found.running), *(_waiting(job, now) for job in then)]
        several = on_several_targets(found)
        heads = [head for head in HEADS if several or head != "TARGET"]
        show_table(heads, [[row[head] for head in heads] for row in rows], spare=("READY IN", "PRIORITY", "FOR"))
    ready = found.queued - found.scheduled
    if ready > len(then):
        click.echo(f"{ready - len(then):,} more wait: see --limit", err=True)
    if found.scheduled:
        click.echo(f"{found.scheduled:,} {'waits' if found.scheduled == 1 else 'wait'} for a time to come", err=True)


def summary(queue: Queue, why: str | None = None) -> str:
    """Return the state of the queue in one line: running and waiting jobs, and what holds them up."""
    said = [f"{len(queue.running)} of {queue.slots} running, {queue.queued:,} waiting"]
    if loaded := list(dict.fromkeys(model for target in queue.targets for model in target.loaded)):
        said.append(f"{', '.join(loaded)} {'is' if len(loaded) == 1 else 'are'} loaded")
    if drained := [target.name for target in queue.targets if target.draining]:
        said.append(f"{', '.join(drained)} {'is' if len(drained) == 1 else 'are'} drained")
    if queue.paused:
        said.append("paused until 'foreman resume'")
    if queue.degraded:
        said.append(why or "the target is away")
    for one in queue.failing_models:
        where = f" on {one.target}" if len(queue.targets) > 1 else ""
        said.append(f"calls of {one.model}{where} fail ({one.error_code}), its jobs wait")
    return "; ".join(said)


def _running(job: Running, now: datetime) -> Mapping[str, str | Text]:
    cells = job.job_id, state_text(job.state), "", between(job.started_at, now), "", job.target or "", job.model
    return dict(zip(HEADS, cells, strict=True))


def _waiting(job: Job, now: datetime) -> Mapping[str, str | Text]:
    eta = f"about {span(job.eta_seconds)}" if job.eta_seconds else ""
    cells = job.job_id, state_text(job.state), job.priority, between(job.created_at, now), eta, "", job.model
    return dict(zip(HEADS, cells, strict=True))
