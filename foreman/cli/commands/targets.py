"""`foreman targets`, `drain`, `load` and `unload`: the targets, and orders to them."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from foreman.cli.commands.shell_completion import model_names, target_names
from foreman.cli.console import ago, show_table
from foreman.cli.exit_codes import epilog
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Client, Target, target_requests
from foreman.client.reading import decode
from foreman.domain.views import Targets

STYLES = {"up": "green", "away": "red", "drained": "yellow", "draining": "yellow"}

_json = click.option("--json", "as_json", is_flag=True, help="Print the answer: the target as it is then.")
_on = click.option(
    "--target", metavar="NAME", shell_complete=target_names, help="Target.  [default: the one that has the model]"
)


@click.group(
    invoke_without_command=True,
    epilog=epilog("foreman targets", "foreman targets log gpu0"),
    short_help="List the targets: health, slots, models, speed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer of GET /targets.")
@quiet("Print only the names, one a line.")
@reaches_foreman
def targets(as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the targets with their state, slots in use, speed, jobs done and loaded models.

    STATE is 'up', 'away' while it cannot be reached, 'draining' until its last jobs have ended, or 'drained'. With
    '(auto)', Foreman finds the number of slots. SPEED is the answer tokens per second of one job. DONE counts since
    Foreman started. 'foreman targets log' shows what the servers of managed models write.
    """
    if click.get_current_context().invoked_subcommand:
        return
    with Client(url, token) as client:
        answer = client.raw(target_requests.targets())
    if as_json:
        print_json(answer)
        return
    found = decode(answer, Targets).targets
    if quiet:
        print_ids(one.name for one in found)
        return
    heads = ("NAME", "STATE", "RUNNING", "SPEED", "DONE", "KIND", "LOADED")
    show_table(heads, map(_row, found), spare=("KIND", "DONE", "SPEED"))
    tell_away(found)


@targets.command(
    "log",
    epilog=epilog("foreman targets log gpu0", "foreman targets log gpu0 --lines 500"),
    short_help="Show what the servers of a managed target write.",
)
@click.argument("name", metavar="NAME", shell_complete=target_names)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Lines of each server, up to 1000.",
)
@click.option("--json", "as_json", is_flag=True, help='Print {"logs": [{"model", "lines"}]}.')
@reaches_foreman
def log(name: str, lines: int, as_json: bool, url: str | None, token: str | None) -> None:
    """Show the last lines that each server of the managed target NAME has written."""
    with Client(url, token) as client:
        if as_json:
            print_json(client.raw(target_requests.target_log(name, lines)))
            return
        logs = client.target_log(name, lines=lines)
    if not logs:
        click.echo(plain(f"no server of {name} has written anything yet"), err=True)
    for number, one in enumerate(logs):
        if len(logs) > 1:
            click.echo(plain(("\n" if number else "") + f"== {one.model}"))
        for line in one.lines:
            click.echo(plain(line))


@click.command(
    epilog=epilog("foreman drain gpu0", "foreman resume gpu0"), short_help="Give a target no more jobs; others go on."
)
@click.argument("name", metavar="NAME", shell_complete=target_names)
@_json
@reaches_foreman
def drain(name: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Give the target NAME no more jobs until 'foreman resume NAME', even after a restart of Foreman.

    Running jobs may go on for shutdown_grace, then they go back to the queue, their attempts not spent. Needs the admin
    token where one is set.
    """
    with Client(url, token) as client:
        answer = client.raw(target_requests.drain(name))
    left = decode(answer, Target).running
    jobs = "1 job still runs" if left == 1 else f"{left:,} jobs still run"
    now = f"{name} is draining: {jobs} there" if left else f"{name} is drained: no job runs there"
    print_json(answer) if as_json else click.echo(plain(now))


@click.command(
    epilog=epilog("foreman load qwen3:8b", "foreman load qwen3:8b --target gpu0"), short_help="Load a model now."
)
@click.argument("model", metavar="MODEL", shell_complete=model_names)
@_on
@_json
@reaches_foreman
def load(model: str, target: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Load MODEL on its target now, and wait until it is loaded. Needs the admin token where one is set."""
    with Client(url, token) as client:
        name = target or _having(client.targets(), model)
        answer = client.raw(target_requests.load(name, model))
    print_json(answer) if as_json else click.echo(plain(f"{model} is loaded on {name}"))


@click.command(
    epilog=epilog("foreman unload qwen3:8b", "foreman unload qwen3:8b --target gpu0"),
    short_help="Unload a model once no job uses it.",
)
@click.argument("model", metavar="MODEL", shell_complete=model_names)
@_on
@_json
@reaches_foreman
def unload(model: str, target: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Unload MODEL once no job uses it; waiting jobs load it again. Needs the admin token where one is set."""
    with Client(url, token) as client:
        name = target or _having(client.targets(), model, loaded=True)
        answer = client.raw(target_requests.unload(name, model))
    print_json(answer) if as_json else click.echo(plain(f"{model} is unloaded from {name}"))


def _having(found: Sequence[Target], model: str, *, loaded: bool = False) -> str:
    """Return the only target that lists the model, with `loaded` the only one that has it loaded.

    One that takes no orders is returned only if no other lists the model. Where none does, the model may be an alias,
    of the only target that takes orders. Raise UsageError for several.
    """
    able = [one for one in found if one.kind != "openai"]
    names = {model, f"{model}:latest"}
    holding = [one for one in able if loaded and names & {entry.model for entry in one.loaded}]
    listing = [one for one in found if names.intersection(one.models)]
    chosen = holding or [one for one in listing if one in able] or listing or able or list(found)
    if len(chosen) != 1:
        among = ", ".join(one.name for one in chosen)
        raise click.UsageError(plain(f"several targets may have {model}: choose one of them with --target: {among}"))
    return chosen[0].name


def tell_away(found: Sequence[Target]) -> None:
    """Print for how long each target that cannot be reached has been away, and why, to standard error."""
    for one in found:
        if not one.up:
            since = "is away" if one.away_seconds is None else f"has been away for {ago(one.away_seconds)}"
            click.echo(one_line(f"{one.name} {since}: {one.error or 'it cannot be reached'}"), err=True)


def _row(target: Target) -> Sequence[str | Text]:
    state = "away" if not target.up else "up"
    if target.draining:
        state = "draining" if target.running else "drained"
    each = target.tokens_per_second
    speed = "" if each is None else f"{each:.{0 if each >= 10 else 1}f} tokens/s"
    loaded = ", ".join(dict.fromkeys(one.model for one in target.loaded))
    running = f"{target.running} of {target.slots}" + (" (auto)" if target.slots_auto else "")
    return target.name, Text(state, style=STYLES[state]), running, speed, f"{target.jobs_done:,}", target.kind, loaded
