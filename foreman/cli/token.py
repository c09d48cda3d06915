"""`foreman token`: makes one."""

from __future__ import annotations

import secrets

import click

from foreman.cli.codes import epilog

BYTES = 32


@click.command(
    epilog=epilog("foreman token > /etc/foreman/token", "FOREMAN_TOKEN_FILE=/etc/foreman/token foreman serve"),
    short_help="Print a new token; nothing is changed.",
)
def token() -> None:
    """Print a new random token, for the settings token, admin_token and webhook_secret. Nothing is stored."""
    click.echo(secrets.token_urlsafe(BYTES))
