"""`foreman batch submit`: upload a file of requests and make a batch of it."""

from __future__ import annotations

import sys
from typing import IO

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from foreman.cli.batch_watch import PRINTED, errors_of, lines_of, watch
from foreman.cli.console import console
from foreman.cli.exit_codes import FAILED, INTERRUPTED, REFUSED, epilog
from foreman.cli.options import quiet, reaches_foreman, words
from foreman.cli.plain import one_line, this_program
from foreman.cli.script_output import print_json
from foreman.client import Batched, Client, LinesRefused, batch_requests
from foreman.client.batch_input import size_of
from foreman.domain.batches import BatchState


@click.command(
    epilog=epilog(
        "foreman batch submit questions.jsonl",
        "foreman batch submit questions.jsonl --wait && foreman batch list",
        "zcat questions.jsonl.gz | foreman batch submit -",
    ),
    short_help="Upload a file of requests and make a batch of it.",
)
@click.argument("file", type=click.File("rb", lazy=False), metavar="FILE")
@click.option("--endpoint", metavar="PATH", help="Endpoint of all lines.  [default: the url of the first line]")
@click.option(
    "-m", "--metadata", multiple=True, callback=words, metavar="NAME=VALUE", help="Metadata; may be repeated."
)
@click.option("--name", metavar="NAME", help="Name of a batch of jobs.  [default: that of the file]")
@click.option("--webhook", metavar="URL", help="URL to send one webhook to at the end of a batch of jobs.")
@click.option("-w", "--wait", is_flag=True, help="Wait until the batch has ended, and show its progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the batch as JSON, with --wait once it has ended.")
@quiet("Print the id of the batch and nothing else.")
@reaches_foreman
def submit(
    file: IO[bytes],
    endpoint: str | None,
    metadata: dict[str, str] | None,
    name: str | None,
    webhook: str | None,
    wait: bool,
    as_json: bool,
    quiet: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Upload the requests in FILE (- is standard input) and make a batch of them.

    Each line is a request of OpenAI's Batch API, JSON with "custom_id", "method", "url" and "body", or each is the body
    of POST /jobs; the first one tells which. All lines are checked before any runs: a bad one is reported by its
    number, and nothing of the batch runs. The batch is stored, and goes on without this command.

    With --wait, the exit code is 1 unless all lines are done; 'foreman batch results ID' prints the results.
    """
    with Client(url, token) as client:
        sending = _Sending(file)
        try:
            with sending:
                made = client.submit_batch(
                    file,
                    endpoint=endpoint,
                    metadata=metadata,
                    name=name,
                    state_webhook_url=webhook,
                    sent=sending.show,
                )
        except LinesRefused as error:
            sys.exit(_refused(error, sending.name, as_json=as_json))
        if quiet and not as_json:
            click.echo(one_line(made.batch_id))
            sys.stdout.flush()  # a reader of the pipe gets it before the batch ends
        try:
            found = watch(client, made.batch_id, silent=quiet, checked=not wait)
        except KeyboardInterrupt:
            click.echo(_follow("the batch goes on without you", made.batch_id), err=True)
            sys.exit(INTERRUPTED)
        if as_json:
            print_json(client.raw(batch_requests.batch(made.batch_id)))
        code = _said(found, sending.name, silent=quiet or as_json)
        if wait and found.done != found.total:
            code = code or FAILED
    sys.exit(code)


def _said(found: Batched, name: str, *, silent: bool) -> int:
    """Print what became of the batch, and return the exit code."""
    if found.state is BatchState.FAILED and not found.total:
        if not silent:
            for line in errors_of(found, name):
                click.echo(line, err=True)
        click.echo(f"foreman: {found.batch_id} failed: nothing of {one_line(name)} runs", err=True)
        return REFUSED
    if not silent:
        click.echo(f"{one_line(found.batch_id)}  {found.state}: {lines_of(found)}")
    return 0


def _refused(error: LinesRefused, name: str, *, as_json: bool) -> int:
    """Print the lines that are refused, and return the exit code."""
    if as_json:
        print_json({"rejected": error.rejected, "errors": error.errors})
    for one in error.errors[: 0 if as_json else PRINTED]:
        hint = f": {one.hint}" if one.hint else ""
        click.echo(one_line(f"{name}:{one.line}: {one.error}{hint} ({one.code})"), err=True)
    if error.rejected > PRINTED and not as_json:
        click.echo(f"… and {error.rejected - PRINTED:,} more; --json lists them", err=True)
    click.echo(one_line(f"foreman: {error.rejected:,} of the lines refused: nothing of {name} is stored"), err=True)
    return REFUSED


def _follow(what: str, batch_id: str) -> str:
    return f"foreman: {what}: {this_program()} batch show {batch_id} --watch"


class _Sending:
    """Progress bar of an upload on standard error, where that is a terminal."""

    def __init__(self, file: IO[bytes]) -> None:
        name = getattr(file, "name", 0)
        self.name = "standard input" if name in ("<stdin>", 0) else str(name)
        err = console(err=True)
        self._bar = Progress(
            TextColumn("uploading"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("", total=size_of(file))

    def __enter__(self) -> _Sending:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, sent: int) -> None:
        """Show that so many bytes are sent."""
        self._bar.update(self._task, completed=sent)
