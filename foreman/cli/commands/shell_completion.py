"""`foreman completion`: shell completion of commands, options, job ids and models."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class

from foreman.cli.exit_codes import epilog
from foreman.cli.plain import one_line
from foreman.client import Client, ClientError
from foreman.domain.job import RETRIABLE, TERMINAL, State

PROGRAM, VARIABLE = "foreman", "_FOREMAN_COMPLETE"
SAFE = re.compile(r"\w[\w.:/@+-]*", re.ASCII)  # needs no quoting in any shell: bash inserts it unquoted
TIMEOUT = 1.0  # seconds; a person waits for it at the prompt
OFFERED = 100  # of the newest jobs

T = TypeVar("T")
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command(
    epilog=epilog(
        "source <(foreman completion bash)    # in ~/.bashrc",
        "source <(foreman completion zsh)    # in ~/.zshrc, after compinit",
        "foreman completion fish > ~/.config/fish/completions/foreman.fish    # once",
    ),
    short_help="Print the script for shell completion.",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, job ids and model names.

    Ids and names come from the Foreman at FOREMAN_URL; none are offered when it does not answer within a second.
    """
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())


def jobs_in(states: Iterable[State]) -> Complete:
    """Return a completer of the ids of the newest jobs in these states, with their state and model."""
    wanted = frozenset(states)

    def complete(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
        given = ctx.params.get(param.name or "") or ()
        return [
            CompletionItem(job.job_id, help=one_line(f"{job.state} {job.model}"))
            for job in _ask(ctx, lambda client: client.jobs(limit=OFFERED).jobs)
            if SAFE.fullmatch(job.job_id)
            and job.state in wanted
            and job.job_id.startswith(begun.upper())
            and job.job_id not in given
        ]

    return complete


any_job = jobs_in(State)
open_job = jobs_in(set(State) - TERMINAL)
ended_job = jobs_in(TERMINAL)
retried_job = jobs_in(RETRIABLE)


def batch_ids(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return completions of the ids of the newest batches, with their state."""
    given = ctx.params.get(param.name or "") or ()
    return [
        CompletionItem(batch.batch_id, help=one_line(batch.state))
        for batch in _ask(ctx, lambda client: client.batches(limit=OFFERED).batches)
        if SAFE.fullmatch(batch.batch_id) and batch.batch_id.startswith(begun) and batch.batch_id not in given
    ]


def model_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return completions of the names of the target's models."""
    return [
        CompletionItem(name) for name in _ask(ctx, Client.models) if SAFE.fullmatch(name) and name.startswith(begun)
    ]


def target_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return completions of the names of the targets."""
    names = [target.name for target in _ask(ctx, Client.targets)]
    return [CompletionItem(name) for name in names if SAFE.fullmatch(name) and name.startswith(begun)]


def _ask(ctx: click.Context, ask: Callable[[Client], list[T]]) -> list[T]:
    """Return the answer of the Foreman given on the command line or in the environment; empty without one."""
    try:
        with Client(ctx.params.get("url"), ctx.params.get("token"), timeout=TIMEOUT) as client:
            return ask(client)
    except ClientError:
        return []
