"""`foreman jobs` and `foreman show`: lists of jobs, and one job in detail."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import click
import msgspec
from click.core import ParameterSource
from rich.text import Text

from foreman.cli.answer import figures
from foreman.cli.commands.job_export import export
from foreman.cli.commands.job_filters import filters
from foreman.cli.commands.shell_completion import any_job
from foreman.cli.console import ago, between, clock, show_hanging, show_table, state_text
from foreman.cli.exit_codes import epilog
from foreman.cli.ids import WHOLE, id_of, with_job
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import print_ids, print_json
from foreman.cli.watch import show as show_watch
from foreman.cli.watch.screen import Look
from foreman.client import Client, Event, Job, Page, requests
from foreman.client.quoting import query
from foreman.client.reading import decode

LONGEST_PAGE = 500  # jobs in one page of the API
LEAST_OF_PROMPT = 16  # columns


@click.command(
    epilog=epilog(
        "foreman jobs --state failed -n 100",
        "foreman jobs --search 'invoice berlin*'",
        "foreman jobs --quiet --state failed | xargs foreman retry",
        "foreman jobs --target gpu2 --export csv > jobs.csv",
    )
)
@filters("Only")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Jobs to list.")
@click.option("--after", metavar="ID", help="Only jobs older than this one.")
@click.option(
    "-w", "--watch", "watches", is_flag=True, help="Keep the list up to date on the terminal, as 'foreman watch' does."
)
@click.option("--json", "as_json", is_flag=True, help='Print {"jobs": […], "next": ID or null}.')
@click.option(
    "--export",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    help="Print all jobs, or the newest N of --limit, as lines of JSON or as CSV.",
)
@quiet()
@reaches_foreman
def jobs(
    limit: int,
    after: str | None,
    watches: bool,
    as_json: bool,
    form: Literal["ndjson", "csv"] | None,
    quiet: bool,
    url: str | None,
    token: str | None,
    **wanted: object,
) -> None:
    """List jobs, newest first.

    With --watch the list is drawn again as jobs change, and driven by the keys of 'foreman watch'; q or Ctrl-C leaves.
    """
    if form is not None and (as_json or quiet or watches):
        raise click.UsageError("--export goes with none of --json, --quiet and --watch")
    if watches:
        _watch(Client(url, token), wanted)
        return
    found: list[msgspec.Raw] = []
    with Client(url, token) as client:
        if after is not None and not WHOLE.fullmatch(after):
            after = id_of(client, after)
        if form is not None:
            export(client, form, most=limit if _is_given("limit") else None, after=after, wanted=wanted)
            return
        while True:
            size = min(limit - len(found), LONGEST_PAGE)
            ask = requests.jobs(**wanted, limit=size, after=after)
            page = decode(client.raw(ask), _RawPage)
            found += page.jobs
            after = page.next
            if not (page.jobs and after) or len(found) >= limit:
                break
    if as_json:
        print_json(_RawPage(found, after))
        return
    rows = msgspec.json.decode(msgspec.json.encode(_RawPage(found)), type=Page).jobs
    if quiet:
        print_ids(job.job_id for job in rows)
        return
    if not rows:
        click.echo("no jobs", err=True)
        return
    show_table(
        ("ID", "STATE", "MODEL", "PRIORITY", "ATTEMPT", "AGE", "TOOK", "PROMPT", "ERROR"),
        map(_row, rows),
        spare=("ATTEMPT", "PRIORITY", "TOOK", "PROMPT", "AGE"),
        keeps={"PROMPT": LEAST_OF_PROMPT},
    )
    if after:
        click.echo(one_line(f"more: --after {after}"), err=True)


@click.command(
    epilog=epilog("foreman show 01M851ES4ND9PVJWPF0KQPVXTA"), short_help="Show a job: its timeline and its answer."
)
@click.argument("job_id", metavar="ID", shell_complete=any_job)
@click.option("--json", "as_json", is_flag=True, help='Print the job as JSON, with its events under "events".')
@reaches_foreman
def show(job_id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Show a job: its fields, its timeline and its answer."""
    with Client(url, token) as client:
        raw = with_job(client, job_id, lambda found: client.raw(requests.job(found)))
        job = decode(raw, Job)
        events = client.events(job.job_id)
    if as_json:
        whole = decode(raw, dict[str, msgspec.Raw])
        print_json({**whole, "events": events})
        return
    _show_job(job)
    _show_timeline(events)
    _show_answer(job)


def _watch(client: Client, wanted: Mapping[str, object]) -> None:
    """Show the list until the person leaves. Raise UsageError without a terminal."""
    if not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; 'foreman watch' prints events to a pipe")
    given = query(wanted)
    look = Look("jobs", given.pop("state", ""), given.pop("batch_id", ""), filters=tuple(given.items()))
    with client, suppress(KeyboardInterrupt):
        show_watch(client, look)


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


class _RawPage(msgspec.Struct):
    jobs: list[msgspec.Raw]
    next: str | None = None


def _row(job: Job) -> Sequence[str | Text]:
    age = ago((datetime.now(UTC) - job.created_at).total_seconds())
    attempt = f"{job.attempt}/{job.max_attempts}"
    took = between(job.started_at, job.completed_at)
    return (
        job.job_id,
        state_text(job.state),
        job.model,
        job.priority,
        attempt,
        age,
        took,
        job.prompt_excerpt or "",
        job.error or "",
    )


def _show_job(job: Job) -> None:
    position = f", position {job.queue_position}" if job.queue_position else ""
    lines: dict[str, str | Text | None] = {
        "job": job.job_id,
        "state": state_text(job.state) + Text(position),
        "waits": job.why.text if job.why else None,
        "model": job.model,
        "endpoint": job.endpoint,
        "priority": job.priority,
        "attempt": f"{job.attempt} of {job.max_attempts}",
        "target": job.target,
        "custom id": job.custom_id,
        "owner": job.owner,
        "caller": job.caller if job.caller != job.owner else None,
        "metadata": ", ".join(f"{name}={value}" for name, value in (job.metadata or {}).items()),
        "error": Text(plain(job.error), style="red") if job.error else None,
        "artifacts": ", ".join(f"{found.name} ({found.content_type}, {found.size} bytes)" for found in job.artifacts),
        "prompt": job.prompt_excerpt,
        "figures": figures(job) if job.ended else None,
        "kept until": clock(job.expires_at, day=True) if job.expires_at else None,
    }
    for name, value in lines.items():
        if value:
            shown = Text(one_line(value)) if isinstance(value, str) else value
            show_hanging(Text(f"{name:<12}", style="bold"), shown)


def _show_timeline(events: list[Event]) -> None:
    """Print each event with its time of day, the duration of the state before it, and, of several, the target."""
    click.echo()
    several = len({event.target for event in events if event.target}) > 1
    before: datetime | None = None
    for event in events:
        lasted = f"+{between(before, event.timestamp)}" if before else clock(event.timestamp, day=True)[:10]
        where = f" on {event.target}" if several and event.target else ""
        attempt = f"  attempt {event.attempt}{where}" if event.attempt else ""
        error = f"  {one_line(event.error)}" if event.error else ""
        lead = Text(f"{clock(event.timestamp)}  {lasted:>12}  ") + state_text(f"{event.state:<12}")
        show_hanging(lead, Text((attempt + error).strip()))
        before = event.timestamp


def _show_answer(job: Job) -> None:
    if job.result is None:
        return
    click.echo()
    click.echo(plain(job.text or msgspec.json.format(msgspec.json.encode(job.result)).decode()))
