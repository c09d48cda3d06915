"""`foreman logs`: the output of one job, as far as it is there, or as it comes."""

from __future__ import annotations

import sys

import click

from foreman.cli.answer import as_json as result_as_json
from foreman.cli.answer import say_failed
from foreman.cli.commands.shell_completion import any_job
from foreman.cli.console import Typed
from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.follow import output
from foreman.cli.ids import with_job
from foreman.cli.options import reaches_foreman
from foreman.cli.script_output import print_json
from foreman.client import Chunk, Client, Job, StartsOver
from foreman.domain.job import State

SILENCE = 0.4  # seconds; what a running job has said so far comes without a pause like that
BEGINS = 10  # pauses that its first words may take to arrive


@click.command(
    epilog=epilog("foreman logs 01M851ES4ND9PVJWPF0KQPVXTA", "foreman logs -f --tail 5 01M851ES4ND9PVJWPF0KQPVXTA"),
    short_help="Show the output of a job.",
)
@click.argument("job_id", metavar="ID", shell_complete=any_job)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what comes, until the job has ended.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of what is there.")
@click.option("--thinking", "thinks", is_flag=True, help="Print the reasoning in place of the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print each chunk as the target sent it, one a line.")
@reaches_foreman
def logs(
    job_id: str,
    follows: bool,
    tail: int | None,
    thinks: bool,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Print the output of a job: of an ended one all, of a running one what it has said so far.

    With --follow the exit code is 1 if the job failed, was cancelled or expired. 'foreman history' shows the changes of
    a job.
    """
    with Client(url, token) as client:
        job = with_job(client, job_id, client.job)
        printer = _Printer(tail, thinks=thinks, as_json=as_json)
        if follows or job.state is not State.QUEUED:
            _print(client, job, printer, follows=follows)
        job = client.job(job.job_id)
        printer.end(job)
        if job.ended and job.state is not State.DONE:
            say_failed(job)
            sys.exit(FAILED if follows else 0)
        if not job.ended:
            click.echo(f"{job.state}: --follow goes on with what comes", err=True)


def _print(client: Client, job: Job, printer: _Printer, *, follows: bool) -> None:
    """Print the output until its end; unless `follows`, that of a running job until it pauses."""
    heard, pauses = False, 0
    for item in output(client, job.job_id, silence=SILENCE):
        if item is not None:
            heard = True
            printer.add(item)
            continue
        pauses += 1
        if heard:
            printer.release()
        if not follows and not job.ended and (heard or pauses >= BEGINS):
            return


class _Printer:
    """Writer of the output; holds it back until `release` where only its last lines are wanted."""

    def __init__(self, tail: int | None, *, thinks: bool, as_json: bool) -> None:
        self._typed = Typed()
        self._tail, self._thinks, self._as_json = tail, thinks, as_json
        self._held: list[str] | None = None if tail is None or as_json else []
        self._said = False

    def add(self, item: Chunk | StartsOver) -> None:
        """Write a chunk, or begin again."""
        if self._as_json:
            print_json(item.value if isinstance(item, Chunk) else {"foreman": {"attempt": item.attempt}})
            sys.stdout.flush()
        elif isinstance(item, StartsOver):
            self._held = None if self._held is None else []
            self._typed.start_over()
        elif text := item.thinking if self._thinks else item.text:
            self._said = True
            if self._held is not None:
                self._held.append(text)
            else:
                self._typed.add(text)

    def release(self) -> None:
        """Write the last lines of what was held back."""
        if self._held is not None:
            lines = "".join(self._held).splitlines(keepends=True)
            self._typed.add("".join(lines[-self._tail :] if self._tail else []))
            self._held = None

    def end(self, job: Job) -> None:
        """Write the rest, and an answer without text as JSON."""
        self.release()
        if job.state is State.DONE and not (self._said or self._as_json or self._thinks):
            self._typed.add(result_as_json(job.result))
        self._typed.end_line()
