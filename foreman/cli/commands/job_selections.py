"""The filters of `foreman cancel`, `retry` and `rm`, and the action on all jobs that they select."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from foreman.cli.commands.job_filters import filters
from foreman.cli.exit_codes import FAILED
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_json
from foreman.client import Acted, CancelledMany, Client, Job, selection_requests
from foreman.client.reading import decode
from foreman.client.selection_requests import Verb

F = TypeVar("F", bound=Callable[..., Any])

MOST = 100_000  # jobs that one request acts on
SHOWN = 3  # ids in a command that is offered
QUESTIONS: dict[Verb, str] = {
    "cancel": "Cancel {}?",
    "retry": "Queue {} again?",
    "delete": "Remove {}? There is no undo.",
}


def selects(command: F) -> F:
    """Add the filters and --yes to a command."""
    yes = click.option(
        "-y", "--yes", is_flag=True, help="Do not ask before acting on all jobs that the filters select."
    )
    return filters("All")(yes(command))


def act_on_all(
    client: Client, verb: Verb, said: str, wanted: Mapping[str, object], *, yes: bool, as_json: bool, quiet: bool
) -> None:
    """Count the selected jobs, ask unless `yes`, act on them and print one line.

    Raise UsageError when there is nobody to ask.
    """
    if not yes:
        counted = decode(client.raw(selection_requests.act(verb, True, wanted)), Acted)
        able = counted.matched - counted.skipped
        if able and not _confirmed(verb, able):
            click.echo("nothing was changed", err=True)
            sys.exit(FAILED)
    raw = client.raw(selection_requests.act(verb, False, wanted))
    show_acted(raw, said, as_json=as_json, quiet=quiet)
    if verb == "cancel" and not (as_json or quiet) and (changes := decode(raw, CancelledMany).changes):
        _offer(f"--changes {changes}")


def show_acted(raw: bytes, said: str, *, as_json: bool, quiet: bool) -> None:
    """Print the outcome of an action on many jobs: one line, only the number, or the answer itself."""
    if as_json:
        print_json(raw)
        return
    acted = decode(raw, Acted)
    if quiet:
        click.echo(str(acted.done))
        return
    skipped = f", {acted.skipped:,} skipped" if acted.skipped else ""
    more = "; repeat it for the rest" if acted.done and acted.matched == MOST else ""
    click.echo(f"{_jobs(acted.done)} {said}{skipped}{more}")


def offer_uncancel(cancelled: Mapping[str, bytes]) -> None:
    """Say how to take back the cancels of jobs that had not started; the answers are by id."""
    ids = [job_id for job_id, answer in cancelled.items() if decode(answer, Job).attempt == 0]
    if ids:
        _offer(" ".join(ids) if len(ids) <= SHOWN else "ID...")


def _offer(what: str) -> None:
    click.echo(one_line(f"to take it back for jobs that were queued: foreman uncancel {what}"), err=True)


def _confirmed(verb: Verb, able: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: give --yes to act on all jobs that the filters select")
    count = f"{_jobs(able)} or more" if able == MOST else _jobs(able)
    return click.confirm(QUESTIONS[verb].format(count), err=True)


def _jobs(count: int) -> str:
    return f"{count:,} {'job' if count == 1 else 'jobs'}"
