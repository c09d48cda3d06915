"""`foreman demo`: one real job on this machine, from start to end."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from types import FrameType

import click

from foreman import program
from foreman.cli.console import STATE_STYLES, Typed, console, span
from foreman.cli.daemon import Daemon, NotReady, running
from foreman.cli.exit_codes import FAILED, INTERRUPTED, epilog
from foreman.cli.follow import follow
from foreman.cli.plain import one_line, plain, this_program
from foreman.client import Chunk, Client, ClientError, Event, Job, StartsOver, text_of
from foreman.domain.job import TERMINAL, State
from foreman.targets.managed.model_file import DEFAULT_MODEL, MEGABYTES, ModelNotFetched, cache, fetch, find_model

MODEL = "smollm2:135m"
PROMPT = "Write one sentence about a lighthouse."
OPTIONS = {"num_predict": 96, "temperature": 0.2}


@click.command(
    epilog=epilog("foreman demo", 'foreman demo "Name three colours."'),
    short_help="Run one real job on this machine and show what happens.",
)
@click.argument("prompt", default=PROMPT)
def demo(prompt: str) -> None:
    """Run PROMPT through a temporary Foreman and a small real model, and show what happens.

    Nothing is left running: the server is stopped and its data removed at the end. The model is fetched first where
    it is not installed, and kept for the next time.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _have_model()
        with running() as daemon:
            try:
                job = _show(daemon, prompt)
            except (NotReady, ClientError) as error:
                _explain(str(error), daemon)
                sys.exit(FAILED)
            if job.state is not State.DONE:
                _explain(f"the job {job.state}: {job.error}", daemon)
                sys.exit(FAILED)
    except KeyboardInterrupt:
        click.echo("\nstopped", err=True)
        sys.exit(INTERRUPTED)
    _print_next_steps()


def _have_model() -> None:
    """Fetch the embedded model where the engine is installed without it; end with one line where that fails."""
    if program.frozen() or find_model(DEFAULT_MODEL) is not None or importlib.util.find_spec("xllamacpp") is None:
        return
    click.echo(f"Fetching the model, {MEGABYTES} MB, once, into {cache()} …")
    try:
        fetch()
    except ModelNotFetched as error:
        click.echo(f"foreman: {one_line(str(error))}", err=True)
        sys.exit(FAILED)


def _show(daemon: Daemon, prompt: str) -> Job:
    """Print the progress of one job and return the ended job."""
    began = time.monotonic()
    click.echo("Starting foreman with a database of its own and the embedded model …")
    url = daemon.wait_ready()
    click.echo(f"Ready at {url} after {span(time.monotonic() - began)}.")
    events: dict[State, Event] = {}
    typed, out = Typed(), console()
    with Client(url) as client:
        accepted = client.submit(MODEL, prompt, options=OPTIONS)
        click.echo(f"Submitted {accepted.job_id} to {MODEL}: {prompt}\n")
        for news in follow(client, accepted.job_id):
            match news:
                case Event():
                    typed.end_line()
                    events[news.state] = news
                    after = span((news.timestamp - events[State.QUEUED].timestamp).total_seconds())
                    out.print(f"{news.state:<10}", style=STATE_STYLES[news.state], end="")
                    out.print(f"+{after}")
                    if news.state in TERMINAL:
                        click.echo()
                case Chunk():
                    typed.add(news.text)
                case StartsOver():
                    typed.start_over()
                case Job():
                    _close(news, events)
                    return news
    raise AssertionError("follow ends with the job")


def _close(job: Job, events: dict[State, Event]) -> None:
    if job.state is not State.DONE or State.LOADING not in events or State.WORKING not in events:
        return
    if not text_of(job.result).strip():
        click.echo("The model had nothing to say.")
    load = events[State.WORKING].timestamp - events[State.LOADING].timestamp
    work = events[State.DONE].timestamp - events[State.WORKING].timestamp
    tokens = job.result.get("eval_count") if isinstance(job.result, dict) else None
    pace = f" for {tokens} tokens ({tokens / work.total_seconds():.0f} a second)" if tokens and work else ""
    loaded, answered = span(load.total_seconds()), span(work.total_seconds())
    click.echo(f"A real answer through a durable queue: {loaded} to load the model, {answered}{pace}.")


def _print_next_steps() -> None:
    program = this_program()
    click.echo("Everything that ran is stopped, and its data folder is removed. Next:")
    for goal, line in {
        "keep one running": f"{program} serve",
        "see it in the browser": "http://127.0.0.1:8080",
        "use it from another terminal": f'{program} submit "Why is the sky blue?"',
        "watch it in a terminal": f"{program} watch",
        "put it in front of your own Ollama": f"FOREMAN_OLLAMA_URL=http://127.0.0.1:11434 {program} serve",
        "or of vLLM, llama-server, LM Studio": f"FOREMAN_OPENAI_URL=http://127.0.0.1:8000 {program} serve",
    }.items():
        click.echo(f"  {goal:<37}{line}")


def _explain(what: str, daemon: Daemon) -> None:
    click.echo(plain(f"foreman: the demo failed: {what}"), err=True)
    lines = daemon.last_lines()
    if lines:
        click.echo("The last lines of its log:", err=True)
    for line in lines:
        click.echo(f"  {plain(line)}", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
