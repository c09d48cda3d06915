"""`foreman token`: generate a token."""

from __future__ import annotations

import re
import secrets

import click

from foreman.cli.exit_codes import epilog

BYTES = 32


@click.command(
    epilog=epilog("foreman token > /etc/foreman/token", "FOREMAN_TOKEN_FILE=/etc/foreman/token foreman serve"),
    short_help="Print a new random token.",
)
@click.option(
    "--name",
    help="Name of the caller; print NAME:TOKEN, so that jobs show their caller, who sends it with the name or without.",
)
def token(name: str | None) -> None:
    """Print a new random token, for the settings token, admin_token and webhook_secret. Nothing is stored."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise click.BadParameter("must be up to 64 letters, digits, dots, dashes and underscores", param_hint="--name")
    click.echo((f"{name}:" if name else "") + secrets.token_urlsafe(BYTES))
