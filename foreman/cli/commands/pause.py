"""`foreman pause` and `foreman resume`: the pause switch of the queue."""

from __future__ import annotations

import click

from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.script_output import print_json
from foreman.client import Client, requests

_json = click.option("--json", "as_json", is_flag=True, help='Print {"paused": true or false}.')


@click.command(epilog=epilog("foreman pause"), short_help="Start no more jobs; running ones go on.")
@_json
@reaches_foreman
def pause(as_json: bool, url: str | None, token: str | None) -> None:
    """Start no more jobs until 'foreman resume', even after a restart of Foreman.

    Running jobs go on; new ones are accepted and wait. Needs the admin token where one is set.
    """
    with Client(url, token) as client:
        answer = client.raw(requests.pause())
    print_json(answer) if as_json else click.echo("paused: running jobs go on, new ones wait")


@click.command(epilog=epilog("foreman resume"), short_help="Start jobs again.")
@_json
@reaches_foreman
def resume(as_json: bool, url: str | None, token: str | None) -> None:
    """Start jobs again after 'foreman pause'. Needs the admin token where one is set."""
    with Client(url, token) as client:
        answer = client.raw(requests.resume())
    print_json(answer) if as_json else click.echo("resumed")
