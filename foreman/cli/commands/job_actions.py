"""`foreman cancel`, `uncancel`, `retry` and `rm`: one action on each of several jobs, or on all that filters select."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from foreman.cli.commands.job_selections import act_on_all, offer_uncancel, selects, show_acted
from foreman.cli.commands.shell_completion import Complete, ended_job, open_job, retried_job
from foreman.cli.exit_codes import REFUSED, epilog
from foreman.cli.ids import with_job
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_json
from foreman.client import Busy, Client, Refused, Unauthorized, requests, selection_requests
from foreman.client.requests import Ask
from foreman.client.selection_requests import Verb

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLE = "01M851ES4ND9PVJWPF0KQPVXTA"


def _ids(complete: Complete) -> Callable[[F], F]:
    return click.argument("job_ids", metavar="[ID...]", nargs=-1, shell_complete=complete)


_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"jobs": […], "errors": [{"job_id", "error", "code"}]}.',
)


@click.command(
    epilog=epilog(
        f"foreman cancel {EXAMPLE}",
        "foreman cancel --state queued --model smollm2:135m",
    ),
    short_help="Cancel queued and running jobs.",
)
@_ids(open_job)
@selects
@_json
@quiet("Print only the ids, one a line; with filters the number of jobs.")
@reaches_foreman
def cancel(job_ids: tuple[str, ...], **options: Any) -> None:
    """Cancel queued and running jobs; a running one is cut off within a second.

    Cancelling a cancelled job changes nothing. Jobs that cannot be cancelled are reported; the others are cancelled.

    With filters in place of IDs, all jobs that match every filter are cancelled, at most 100,000, after a question.

    "foreman uncancel" takes it back for jobs that were queued.
    """
    _act("cancel", "cancelled", requests.cancel, job_ids, **options)


@click.command(
    epilog=epilog(f"foreman uncancel {EXAMPLE}", "foreman uncancel --changes 12-1011"),
    short_help="Take back the cancel of queued jobs.",
)
@_ids(retried_job)
@click.option("--changes", metavar="CHANGES", help="All jobs of a cancel with filters, by what it printed.")
@_json
@quiet("Print only the ids, one a line; with --changes the number of jobs.")
@reaches_foreman
def uncancel(
    job_ids: tuple[str, ...], changes: str | None, as_json: bool, quiet: bool, url: str | None, token: str | None
) -> None:
    """Queue jobs again as they were before they were cancelled: in their place, with their times and attempts.

    Only jobs that were queued can be. Jobs that ran are run anew by "foreman retry".
    """
    if bool(job_ids) == bool(changes):
        raise click.UsageError("give either IDs or --changes")
    if changes:
        with Client(url, token) as client:
            show_acted(client.raw(selection_requests.uncancel(changes)), "queued again", as_json=as_json, quiet=quiet)
    else:
        act_on_each(job_ids, requests.uncancel, "queued again", as_json=as_json, quiet=quiet, url=url, token=token)


@click.command(
    epilog=epilog(
        f"foreman retry {EXAMPLE}",
        "foreman retry --state failed --created-after 2030-01-31T18:00:00Z --yes",
    ),
    short_help="Queue failed, cancelled or expired jobs again.",
)
@_ids(retried_job)
@selects
@_json
@quiet("Print only the ids, one a line; with filters the number of jobs.")
@reaches_foreman
def retry(job_ids: tuple[str, ...], **options: Any) -> None:
    """Queue failed, cancelled or expired jobs again, under the same ids and with all their attempts.

    With filters in place of IDs, all such jobs that match every filter are, at most 100,000, after a question.
    """
    _act("retry", "queued again", requests.retry, job_ids, **options)


@click.command(
    epilog=epilog(f"foreman rm {EXAMPLE}", "foreman rm --state failed,expired"),
    short_help="Remove ended jobs with all their data.",
)
@_ids(ended_job)
@selects
@_json
@quiet("Print only the ids, one a line; with filters the number of jobs.")
@reaches_foreman
def rm(job_ids: tuple[str, ...], **options: Any) -> None:
    """Remove ended jobs with their answers, artifacts, events and deliveries. This cannot be undone.

    With filters in place of IDs, all ended jobs that match every filter are, at most 100,000, after a question. Lines
    of batches stay.
    """
    _act("delete", "removed", requests.delete, job_ids, **options)


def _act(
    verb: Verb,
    said: str,
    ask_of: Callable[[str], Ask[Any]],
    job_ids: tuple[str, ...],
    *,
    as_json: bool,
    quiet: bool,
    yes: bool,
    url: str | None,
    token: str | None,
    **filters: object,
) -> None:
    """Perform an action on each job, or on all that the filters select. Raise UsageError for both or neither."""
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(job_ids) == bool(given):
        raise click.UsageError("give either IDs or filters such as --state")
    if given:
        with Client(url, token) as client:
            act_on_all(client, verb, said, given, yes=yes, as_json=as_json, quiet=quiet)
    else:
        after = offer_uncancel if verb == "cancel" and not (as_json or quiet) else None
        act_on_each(job_ids, ask_of, said, as_json=as_json, quiet=quiet, url=url, token=token, after=after)


def act_on_each(
    job_ids: tuple[str, ...],
    ask_of: Callable[[str], Ask[Any]],
    said: str,
    *,
    as_json: bool,
    quiet: bool,
    url: str | None,
    token: str | None,
    after: Callable[[Mapping[str, bytes]], None] | None = None,
) -> None:
    """Perform an action on each job and print each; go on when one is refused. `after` takes the answers by id."""
    done: dict[str, bytes] = {}
    errors: list[dict[str, str]] = []
    try:
        with Client(url, token) as client:

            def act(job_id: str) -> tuple[str, bytes]:
                return job_id, client.raw(ask_of(job_id))

            for name in dict.fromkeys(job_ids):
                try:
                    job_id, answer = with_job(client, name, act)
                except (Unauthorized, Busy):  # would refuse the others too
                    raise
                except Refused as error:
                    errors.append({"job_id": name, "error": str(error), "code": error.code})
                    if not as_json:
                        about = "" if name in str(error) else f"{name}: "
                        click.echo(one_line(f"foreman: {about}{error}"), err=True)
                    continue
                done[job_id] = answer
                if not as_json:
                    click.echo(one_line(job_id) + ("" if quiet else f"  {said}"))
    finally:
        if as_json and (done or errors):
            jobs = [msgspec.Raw(answer) if answer else {"job_id": job_id} for job_id, answer in done.items()]
            print_json({"jobs": jobs, "errors": errors})
        if after is not None:
            after(done)
    if errors:
        sys.exit(REFUSED)
