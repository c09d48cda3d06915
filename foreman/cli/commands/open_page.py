"""`foreman open`: the page in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser

import click

from foreman.cli.commands.shell_completion import any_job
from foreman.cli.exit_codes import epilog
from foreman.cli.ids import id_of
from foreman.cli.options import reaches_foreman
from foreman.cli.plain import one_line
from foreman.client import Client

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


@click.command(
    epilog=epilog("foreman open", "foreman open 01M851ES4ND9PVJWPF0KQPVXTA", "foreman open --no-browser"),
    short_help="Open the page, or a job's, in a browser.",
)
@click.argument("job_id", metavar="[ID]", required=False, shell_complete=any_job)
@click.option("-n", "--no-browser", is_flag=True, help="Print the address and open nothing.")
@reaches_foreman
def open(job_id: str | None, no_browser: bool, url: str | None, token: str | None) -> None:
    """Open the page in a browser, or the page of a job.

    Prints its address where there is no browser. The token is never part of it: the page asks for one.
    """
    with Client(url, token) as client:
        if job_id is None:
            client.health()
            address = f"{client.url}/"
        else:
            address = f"{client.url}/#/jobs/{id_of(client, job_id)}"
    if no_browser or not has_display() or not webbrowser.open(address):
        click.echo(one_line(address))
    else:
        click.echo(one_line(f"opening {address}"), err=True)


def has_display() -> bool:
    """Return True where a browser has a screen to open on; else only a text browser would start, in this terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)
