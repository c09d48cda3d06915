"""`foreman reload`: has Foreman read its settings again."""

from __future__ import annotations

import click

from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.script_output import print_json
from foreman.client import Client, requests
from foreman.client.reading import decode
from foreman.domain.views import Reloaded


@click.command(epilog=epilog("foreman reload"), short_help="Read the settings again, without a restart.")
@click.option("--json", "as_json", is_flag=True, help="Print the names of the settings as JSON.")
@reaches_foreman
def reload(as_json: bool, url: str | None, token: str | None) -> None:
    """Have Foreman read its settings again; SIGHUP does the same.

    Targets and managed models are added, changed and removed while jobs run. What needs a restart is named; a wrong
    file changes nothing. Needs the admin token where one is set.
    """
    with Client(url, token) as client:
        answer = client.raw(requests.reload())
    if as_json:
        print_json(answer)
        return
    report = decode(answer, Reloaded)
    click.echo(f"changed: {', '.join(report.changed) or 'nothing'}")
    if report.needs_restart:
        click.echo(f"needs a restart: {', '.join(report.needs_restart)}")
