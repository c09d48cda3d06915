"""`foreman pause` and `foreman resume`: the pause switch of the queue, and the end of a target's drain."""

from __future__ import annotations

import click

from foreman.cli.commands.shell_completion import target_names
from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.plain import plain
from foreman.cli.script_output import print_json
from foreman.client import Client, requests, target_requests


@click.command(epilog=epilog("foreman pause"), short_help="Start no more jobs; running ones go on.")
@click.option("--json", "as_json", is_flag=True, help='Print {"paused": true}.')
@reaches_foreman
def pause(as_json: bool, url: str | None, token: str | None) -> None:
    """Start no more jobs until 'foreman resume', even after a restart of Foreman.

    Running jobs go on; new ones are accepted and wait. Needs the admin token where one is set.
    """
    with Client(url, token) as client:
        answer = client.raw(requests.pause())
    print_json(answer) if as_json else click.echo("paused: running jobs go on, new ones wait")


@click.command(epilog=epilog("foreman resume", "foreman resume gpu0"), short_help="Start jobs again.")
@click.argument("target", metavar="[TARGET]", required=False, shell_complete=target_names)
@click.option("--json", "as_json", is_flag=True, help='Print {"paused": false}; with TARGET, the target as it is then.')
@reaches_foreman
def resume(target: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Start jobs again after 'foreman pause'; with TARGET, on that target after 'foreman drain'.

    Needs the admin token where one is set.
    """
    with Client(url, token) as client:
        answer = client.raw(target_requests.resume_target(target) if target else requests.resume())
    print_json(answer) if as_json else click.echo(plain(f"{target} takes jobs" if target else "resumed"))
