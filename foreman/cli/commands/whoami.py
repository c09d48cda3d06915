"""`foreman whoami`: the caller of a token, its rights and its quotas."""

from __future__ import annotations

import click

from foreman.cli.console import show_table
from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_json
from foreman.client import Client, Me, Quota, requests
from foreman.client.reading import decode

QUOTAS = {
    "waiting": "waiting jobs",
    "running": "running jobs",
    "tokens_per_hour": "tokens in the last hour",
    "max_files": "files",
    "rate": "jobs and calls at once",
}


@click.command(
    epilog=epilog("foreman whoami", "FOREMAN_TOKEN=$ALICE foreman whoami --json"),
    short_help="Show your name, rights and quotas.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer of GET /me.")
@reaches_foreman
def whoami(as_json: bool, url: str | None, token: str | None) -> None:
    """Show who you are for the running Foreman: the name of your token, what it may do, what is left of its quotas.

    Where no token is set, it says so: then all who reach the address are one caller.
    """
    with Client(url, token) as client:
        answer, address = client.raw(requests.me()), client.url
    if as_json:
        print_json(answer)
        return
    me = decode(answer, Me)
    facts = {
        "name": who(me),
        "rights": ", ".join(me.rights),
        "jobs": "those of all callers" if me.sees_all else "your own only (private_jobs is set)",
        "admin": admin(me),
        "foreman": f"{me.node} at {address}, version {me.version}",
    }
    for name, words in facts.items():
        click.echo(f"{name + ':':<9}{one_line(words)}")
    quotas = {words: getattr(me.quotas, name) for name, words in QUOTAS.items()}
    rows = [(words, *_cells(quota)) for words, quota in quotas.items() if quota]
    if rows:
        click.echo()
        show_table(("QUOTA", "LIMIT", "USED", "LEFT"), rows)


def who(me: Me) -> str:
    """Return the caller in words."""
    if me.token is None:
        return "no name: no token was needed" if me.token_required else "no name: this Foreman wants no token"
    return (me.name or "no name: the token has none") + (" (an admin token)" if me.token == "admin_token" else "")


def admin(me: Me) -> str:
    """Return in words whether the caller may act for all."""
    if me.is_admin:
        return "you may pause the queue, change others' jobs and manage models"
    if me.admin_token_set:
        return "an admin token is needed to pause the queue, change others' jobs and manage models"
    return "nobody: private_jobs is set, and no admin_token"


def _cells(quota: Quota) -> tuple[str, str, str]:
    return f"{quota.limit:,}", f"{quota.used:,}", f"{quota.left:,}"
