"""`foreman config import`: the settings for another program's configuration."""

from __future__ import annotations

from typing import BinaryIO

import click
import yaml

from foreman.cli.exit_codes import epilog
from foreman.cli.plain import plain
from foreman.config.llama_swap import imported
from foreman.config.toml_text import toml_text


@click.command(
    "import",
    epilog=epilog("foreman config import llama-swap config.yaml > foreman.toml"),
    short_help="Write the settings for a configuration of llama-swap.",
)
@click.argument("program", type=click.Choice(["llama-swap"]))
@click.argument("file", type=click.File("rb"))
def import_config(program: str, file: BinaryIO) -> None:
    """Write the settings for FILE, a configuration of llama-swap, as TOML to standard output.

    Each field of it that has no counterpart is named on standard error. FILE may be - for standard input.
    """
    try:
        given = yaml.safe_load(file)
        if not isinstance(given, dict):
            raise ValueError("it must be a table")  # noqa: TRY004
        settings, warnings = imported(given)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"not a configuration of {program}: {error}", param_hint="FILE") from None
    for warning in warnings:
        click.echo(plain(f"foreman: {warning}"), err=True)
    click.echo(f"# Made of a configuration of {program} by `foreman config import`.\n\n{toml_text(settings)}", nl=False)
