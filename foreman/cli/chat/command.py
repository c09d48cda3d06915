"""The command `foreman run`: one question, or a chat on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from foreman.cli.chat.chat import Chat
from foreman.cli.chat.conversation import Conversation
from foreman.cli.chat.line_editor import editing, history_file, read_turn, unechoed
from foreman.cli.chat.slash_commands import OFFERED, CommandInvalid, Leave, is_command, obey
from foreman.cli.commands.shell_completion import model_names
from foreman.cli.ending import ends_orderly
from foreman.cli.error_lines import line_and_code
from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.options import model_options, quiet, reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import print_json
from foreman.client import Client, ClientError, ConnectFailed, NotFound, Unauthorized, requests
from foreman.domain.job import State

THINKS: dict[str | None, Any] = {"on": True, "off": False, "low": "low", "medium": "medium", "high": "high", None: None}


@click.command(
    epilog=epilog(
        "foreman run smollm2:135m",
        'foreman run smollm2:135m "Name three colours."',
        "git diff | foreman run smollm2:135m 'Summarize this change.'",
    ),
    short_help="Chat with a model, or ask it one question.",
)
@click.argument("model", metavar="MODEL", shell_complete=model_names)
@click.argument("prompt", metavar="[PROMPT]", nargs=-1)
@click.option("-s", "--system", metavar="TEXT", help="System prompt.")
@model_options
@click.option("--think", type=click.Choice([name for name in THINKS if name]), help="Whether, or how much, it thinks.")
@click.option("--format", type=click.Choice(["json"]), help="Form of the answers.  [default: any]")
@click.option(
    "--image",
    "images",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Image to show with the first question; may be repeated.",
)
@click.option(
    "-p",
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="high",
    show_default=True,
    help="Jobs of a higher priority start first.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print the figures of each answer: tokens, speed, times, target.")
@click.option("--no-history", is_flag=True, help="Do not remember the lines of this chat for the next one.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished job of one question as JSON.")
@quiet("Do not show what happens before the answer.")
@reaches_foreman
def run(
    model: str,
    prompt: tuple[str, ...],
    system: str | None,
    options: dict[str, Any],
    think: str | None,
    format: Literal["json"] | None,
    images: tuple[Path, ...],
    priority: Literal["high", "normal", "low"],
    verbose: bool,
    no_history: bool,
    as_json: bool,
    quiet: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Chat with MODEL, or ask it PROMPT and leave.

    Each question is a durable job; Ctrl-C stops its answer and cancels the job. What is piped in goes before PROMPT. In
    a chat /? lists the commands, such as /set system TEXT, and Ctrl-D leaves. A model that sees is shown the images
    whose paths are in a question. Lines are remembered for the next chat, in ~/.local/state/foreman/history.
    """
    piped = "" if sys.stdin.isatty() else _piped()
    alone = bool(prompt or piped or as_json)
    if not alone and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("give a PROMPT, or pipe one in: there is no terminal to chat on")
    conversation = Conversation(model, system, options, format, THINKS[think])
    with Client(url, token) as client, ends_orderly():
        chat = Chat(client, conversation, priority, verbose, quiet)
        if images:
            chat.add_images(images)
        if alone:
            _ask_once(chat, " ".join(prompt), piped, as_json=as_json)
        else:
            _converse(chat, remembered=None if no_history else history_file())


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode().strip("\n")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8 text") from None


def _ask_once(chat: Chat, prompt: str, piped: str, *, as_json: bool) -> None:
    """Ask one question, and exit with FAILED unless it was answered."""
    asked = "\n\n".join(filter(None, (piped, chat.take_images(prompt) if prompt else "")))
    if not asked:
        raise click.UsageError("give a PROMPT, or pipe one in")
    job = chat.ask(asked, show=not as_json)
    if as_json:
        print_json(chat.client.raw(requests.job(job.job_id)))
    if job.state is not State.DONE:
        sys.exit(FAILED)


def _converse(chat: Chat, remembered: Path | None) -> None:
    """Chat until /bye or Ctrl-D. Raise a ClientError when the model is unknown or no Foreman can be reached."""
    try:
        chat.describe()
    except (NotFound, ConnectFailed, Unauthorized):
        raise
    except ClientError as error:  # the target is away: questions wait for it
        _report(error)
    chat.note(f"{chat.conversation.model} at {chat.client.url}. /? lists the commands, Ctrl-D leaves.")
    with editing(OFFERED, remembered):
        while True:
            try:
                turn = read_turn()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                chat.note("Ctrl-D or /bye leaves.")
                continue
            try:
                with unechoed():
                    _take(chat, turn)
            except Leave:
                return
            except KeyboardInterrupt:
                chat.note("stopped, the job is cancelled")
            except (CommandInvalid, ClientError, OSError) as error:
                _report(error)


def _take(chat: Chat, turn: str) -> None:
    if is_command(turn):
        said = obey(turn, chat)
        if said:
            click.echo(plain(said))
    elif turn.strip():
        asked = chat.take_images(turn)
        if asked:
            chat.ask(asked)


def _report(error: Exception) -> None:
    known = line_and_code(error)
    click.echo(f"foreman: {one_line(known[0] if known else str(error))}", err=True)
