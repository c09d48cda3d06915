"""`foreman submit`: submit a prompt and show its answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

import click
import msgspec
from click.core import ParameterSource

from foreman.cli.answer import say_failed, show_answer, show_figures
from foreman.cli.commands.shell_completion import model_names
from foreman.cli.commands.submit_file import submit_file
from foreman.cli.console import Typed
from foreman.cli.exit_codes import FAILED, INTERRUPTED, REFUSED, epilog
from foreman.cli.near_names import suggest
from foreman.cli.options import model_options, quiet, reaches_foreman, words
from foreman.cli.plain import one_line, this_program
from foreman.cli.script_output import print_json
from foreman.client import (
    Accepted,
    ArgumentInvalid,
    Client,
    NotForeman,
    NotFound,
    requests,
)
from foreman.client.payload import Fields, body_of
from foreman.client.reading import decode
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import State

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
WITH_FILE = {"file", "no_wait", "as_json", "quiet", "url", "token"}


def _schema(ctx: click.Context, param: click.Parameter, given: Path | None) -> dict[str, Any] | None:
    """Read a schema. Raise BadParameter for anything but a JSON object."""
    if given is None:
        return None
    try:
        return msgspec.json.decode(given.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.BadParameter(f"{given} is no JSON object: {error}") from None


@click.command(
    epilog=epilog(
        'foreman submit --model smollm2:135m "Name three colours."',
        "git diff | foreman submit --system 'Write a commit message.'",
        "foreman submit --file jobs.ndjson",
    ),
    short_help="Submit a prompt and show its answer, or submit a file of jobs.",
)
@click.argument("prompt", required=False)
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=model_names,
    help="Model to use.  [default: the first one of the target]",
)
@click.option("-s", "--system", metavar="TEXT", help="System prompt.")
@click.option(
    "-p",
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    help="Jobs of a higher priority start first.  [default: normal]",
)
@click.option(
    "--endpoint",
    type=click.Choice(ENDPOINTS),
    default="/api/chat",
    show_default=True,
    metavar="PATH",
    help=f"Endpoint of the target: one of {', '.join(ENDPOINTS)}.",
)
@model_options
@click.option("--timeout", type=float, metavar="SECONDS", help="Timeout of one attempt.")
@click.option("--max-attempts", type=int, metavar="N", help="Attempts, 1 to 20.")
@click.option(
    "--start-by",
    metavar="TIME",
    help="Time by which it must have started, such as 2030-01-31T18:00:00Z; else it expires.",
)
@click.option("--not-before", metavar="TIME", help="Time before which it does not start, such as 2030-01-31T18:00:00Z.")
@click.option("--custom-id", metavar="ID", help="Name of your own for the job; commands take it in place of its id.")
@click.option(
    "--metadata",
    multiple=True,
    callback=words,
    metavar="NAME=VALUE",
    help="Metadata of the job; may be repeated.",
)
@click.option(
    "--schema",
    "format",
    type=FILE,
    callback=_schema,
    metavar="FILE",
    help="JSON schema that the answer has to follow.",
)
@click.option(
    "--image",
    "images",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Image to show with the prompt; may be repeated.",
)
@click.option(
    "--webhook", "state_webhook_url", metavar="URL", help="URL to send a webhook to for every event of the job."
)
@click.option(
    "--file",
    type=click.File("rb", lazy=False),
    metavar="FILE",
    help="Submit every line of FILE (- is standard input), each the body of POST /jobs, and do not wait.",
)
@click.option("--no-wait", is_flag=True, help="Print the job's id and exit; 'foreman show ID' shows the job.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the finished job (with --no-wait the accepted job, with --file the outcome of each line) as JSON.",
)
@quiet("Print the job's id and nothing else (with --file the ids of all stored jobs, one a line).")
@reaches_foreman
def submit(
    prompt: str | None,
    model: str | None,
    system: str | None,
    options: dict[str, Any],
    images: tuple[Path, ...],
    file: IO[bytes] | None,
    no_wait: bool,
    as_json: bool,
    quiet: bool,
    url: str | None,
    token: str | None,
    **fields: Any,
) -> None:
    """Submit PROMPT as a job and show its answer as it comes.

    Without PROMPT, or when it is -, the prompt is read from standard input. The job is stored first, and runs even if
    this command is interrupted. The answer goes to standard output, everything else to standard error; at the end its
    figures: tokens, tokens per second, how long it waited and ran, its target, and the end of its id, which names it.

    With --file, all jobs are stored and the command does not wait for them. Rejected lines are reported by line number;
    the others are stored.
    """
    if file is not None:
        _check_alone()
        with Client(url, token) as client:
            sys.exit(submit_file(client, file, as_json=as_json, quiet=quiet))
    prompt = _prompt(prompt)
    with Client(url, token) as client:
        model = model or _first_model(client)
        shown = [image.read_bytes() for image in images] or None
        asked: Fields = {"system": system, "options": options, "images": shown, **fields}  # type: ignore[typeddict-item]
        try:
            body = body_of(model, prompt, asked)
        except ArgumentInvalid as error:
            raise click.UsageError(error.message) from None
        try:
            accepted = client.raw(requests.submit(body))
        except NotFound as error:
            if error.code == "model_not_found":
                suggest(client, error, model)
            raise
        known = decode(accepted, Accepted)
        job_id = known.job_id
        if known.warning:
            click.echo(one_line(f"foreman: job {job_id}: {known.warning}"), err=True)
        if no_wait or (quiet and not as_json):
            print_json(accepted) if as_json else click.echo(one_line(job_id))
            sys.stdout.flush()  # a reader of the pipe gets it before the job ends
        if no_wait:
            return
        try:
            job = show_answer(client, job_id, model, text=None if as_json or quiet else Typed(), silent=quiet)
        except KeyboardInterrupt:
            click.echo(f"foreman: the job goes on without you: {this_program()} show {job_id}", err=True)
            sys.exit(INTERRUPTED)
        if as_json:
            print_json(client.raw(requests.job(job_id)))
        if job.state is not State.DONE:
            say_failed(job)
            sys.exit(FAILED)
        if not (as_json or quiet):
            show_figures(job)


def _check_alone() -> None:
    """Refuse options of a single job together with --file."""
    ctx = click.get_current_context()
    for param in ctx.command.params:
        given = param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        if given and param.name not in WITH_FILE:
            raise click.UsageError(f"{param.opts[-1]} and --file do not go together: set it in each line")


def _prompt(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if given is None and sys.stdin.isatty():
        raise click.UsageError("give a PROMPT, or pipe one in")
    try:
        read = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8 text") from None
    if not read.strip():
        raise click.UsageError("standard input holds no prompt")
    return read


def _first_model(client: Client) -> str:
    try:
        known = client.models()
    except (NotFound, NotForeman):
        known = []
    if not known:
        click.echo("foreman: the list of models is not available: see 'foreman doctor', or give --model", err=True)
        sys.exit(REFUSED)
    return known[0]
