"""`foreman submit`: submit a prompt and show its answer."""

from __future__ import annotations

import sys
from typing import IO, Any

import click
import msgspec
from click.core import ParameterSource

from foreman.cli.commands.shell_completion import model_names
from foreman.cli.commands.submit_file import submit_file
from foreman.cli.console import StatusLine, Typed, span
from foreman.cli.exit_codes import FAILED, INTERRUPTED, REFUSED, epilog
from foreman.cli.follow import Away, Waiting, follow
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line, this_program
from foreman.cli.script_output import print_json
from foreman.client import (
    Accepted,
    ArgumentInvalid,
    Chunk,
    Client,
    Event,
    Job,
    NotForeman,
    NotFound,
    StartsOver,
    requests,
    text_of,
)
from foreman.client.payload import Fields, body_of
from foreman.client.reading import decode
from foreman.client.writing import text
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import State

WITH_FILE = {"file", "no_wait", "as_json", "quiet", "url", "token"}


def _option(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Parse NAME=VALUE pairs; a value is JSON, or else text."""
    options: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"must be NAME=VALUE; given: {pair}")
        try:
            options[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            options[name] = value
    return options


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
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    callback=_option,
    metavar="NAME=VALUE",
    help="Option of the model, such as temperature=0; may be repeated.",
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Timeout of one attempt.")
@click.option("--max-attempts", type=int, metavar="N", help="Attempts, 1 to 20.")
@click.option(
    "--start-by",
    metavar="TIME",
    help="Time by which it must have started, such as 2030-01-31T18:00:00Z; else it expires.",
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
    this command is interrupted. The answer goes to standard output, everything else to standard error.

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
        asked: Fields = {"system": system, "options": options, **fields}  # type: ignore[typeddict-item]
        try:
            body = body_of(model, prompt, asked)
        except ArgumentInvalid as error:
            raise click.UsageError(error.message) from None
        try:
            accepted = client.raw(requests.submit(body))
        except NotFound as error:
            if error.code == "model_not_found":
                error.message = f"model '{text(model)}' not found"
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
            job = _watch(client, job_id, model, show_text=not (as_json or quiet), silent=quiet)
        except KeyboardInterrupt:
            click.echo(f"foreman: the job goes on without you: {this_program()} show {job_id}", err=True)
            sys.exit(INTERRUPTED)
        if as_json:
            print_json(client.raw(requests.job(job_id)))
        if job.state is not State.DONE:
            why = f": {job.error}" if job.error else ""
            click.echo(one_line(f"foreman: job {job_id} {_ended(job)}{why}"), err=True)
            sys.exit(FAILED)


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


def _watch(client: Client, job_id: str, model: str, *, show_text: bool, silent: bool) -> Job:
    """Show the progress of the job until it ends; its text goes to standard output."""
    typed = Typed()
    with StatusLine(silent=silent) as status:
        for news in follow(client, job_id):
            match news:
                case Chunk():
                    if show_text and news.text:
                        status.clear()
                        typed.add(news.text)
                    elif news.thinking:
                        status.show("thinking")
                case Waiting():
                    about = f", about {span(news.eta_seconds)}" if news.eta_seconds else ""
                    status.show(f"queued, position {news.position}{f': {news.why}' if news.why else about}")
                case Event():
                    if news.state in _STATUSES:
                        again = " again" if news.state is State.QUEUED and news.previous_state else ""
                        status.show(_STATUSES[news.state].format(model=model) + again)
                case StartsOver():
                    typed.start_over()
                    status.show(f"attempt {news.attempt}")
                case Away():
                    status.show(f"no answer from {client.url}, trying again")
                case Job():
                    status.clear()
                    if show_text and news.state is State.DONE:
                        typed.finish(text_of(news.result) or _as_json(news.result))
                    else:
                        typed.end_line()
                    return news
    raise AssertionError("follow ends with the job")


_STATUSES = {State.QUEUED: "queued", State.LOADING: "loading model {model}", State.WORKING: "working"}


def _as_json(result: Any) -> str:
    """Return an answer without text, such as embeddings or tool calls, as JSON."""
    return msgspec.json.format(msgspec.json.encode(result)).decode() if result is not None else ""


def _ended(job: Job) -> str:
    return {State.FAILED: "failed", State.CANCELLED: "was cancelled", State.EXPIRED: "expired"}.get(
        job.state, job.state
    )
