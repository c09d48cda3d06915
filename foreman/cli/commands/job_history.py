"""`foreman history`: the events and attempts of one job."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime

import click
import msgspec
from rich.text import Text

from foreman.cli.commands.shell_completion import any_job
from foreman.cli.console import between, clock, show_hanging, state_text
from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.follow import Away, follow
from foreman.cli.ids import id_of, with_job
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_json
from foreman.client import Client, Event, Job
from foreman.domain.job import RUNNING, TERMINAL, State


class Attempt(msgspec.Struct):
    """One attempt of a job."""

    attempt: int
    started_at: datetime
    ended_at: datetime | None = None  # None while it runs
    outcome: str | None = None  # the next state: done, failed, cancelled, or queued for another attempt
    error: str | None = None


class Attempts:
    """The attempts of a job, derived from its events, oldest first."""

    def __init__(self) -> None:
        self.known: list[Attempt] = []

    def add(self, event: Event) -> Attempt | None:
        """Add the next event; return the attempt that it ended, if any."""
        running = self.known[-1] if self.known and self.known[-1].ended_at is None else None
        if event.state in RUNNING:
            if running is None:
                self.known.append(Attempt(event.attempt, event.timestamp))
            return None
        if running is not None:
            running.ended_at, running.outcome, running.error = event.timestamp, event.state.value, event.error
        return running


@click.command(
    epilog=epilog("foreman history 01M851ES4ND9PVJWPF0KQPVXTA", "foreman history --follow 01M851ES4ND9PVJWPF0KQPVXTA"),
    short_help="Show the events and attempts of a job.",
)
@click.argument("job_id", metavar="ID", shell_complete=any_job)
@click.option("-f", "--follow", "follows", is_flag=True, help="Print new events until the job has ended.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"events": […], "attempts": [{"attempt", "started_at", "ended_at", "outcome", "error"}]}; '
    "with --follow one event a line.",
)
@quiet("With --follow: print nothing; the exit code shows how the job ended.")
@reaches_foreman
def history(job_id: str, follows: bool, as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """Show every event of a job with its time, and for each attempt its duration and error.

    With --follow the exit code is 1 if the job failed, was cancelled or expired.
    """
    with Client(url, token) as client:
        if not follows:
            events = with_job(client, job_id, client.events)
            if as_json:
                _print_whole(events)
            elif not quiet:
                _print(events)
            return
        job = _Followed(client, id_of(client, job_id))
        events_so_far = job.events()
        if as_json:
            for event in events_so_far:
                print_json(event)
        else:
            _print(events_so_far, silent=quiet)
    sys.exit(0 if job.state is State.DONE else FAILED)


class _Followed:
    """The events of a job until its end, and its final state."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client, self._job_id = client, job_id
        self.state = State.QUEUED

    def events(self) -> Iterator[Event]:
        for news in follow(self._client, self._job_id):
            match news:
                case Event():
                    yield news
                case Away():
                    click.echo(f"no answer from {self._client.url}, trying again", err=True)
                case Job():
                    self.state = news.state


def _print(events: Iterable[Event], *, silent: bool = False) -> None:
    attempts = Attempts()
    for event in events:
        ended = attempts.add(event)
        if silent:
            continue
        said = [f"attempt {event.attempt}"] if event.state in RUNNING else []
        if ended:
            said.append(f"attempt {ended.attempt} took {between(ended.started_at, ended.ended_at)}")
        elif event.state is State.QUEUED and event.previous_state:
            said.append("again")
        if event.error:
            said.append(event.error)
        style = "red" if event.error and event.state in TERMINAL else ""
        when = clock(event.timestamp, day=True)
        show_hanging(Text(f"{when}  ") + state_text(f"{event.state:<10}"), Text(one_line(": ".join(said)), style=style))


def _print_whole(events: list[Event]) -> None:
    attempts = Attempts()
    for event in events:
        attempts.add(event)
    print_json({"events": events, "attempts": attempts.known})
