"""`foreman config`: the settings in force and the source of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from foreman.cli.commands.config_import import import_config
from foreman.cli.console import show_table
from foreman.cli.exit_codes import epilog
from foreman.cli.script_output import print_json
from foreman.cli.setting_options import takes_settings
from foreman.config.origins import DEFAULT
from foreman.config.shown import every
from foreman.config.sources import DEFAULT_FILE, load


@click.group(
    invoke_without_command=True,
    epilog=epilog(
        "foreman config", "foreman config --json", "foreman config import llama-swap config.yaml > foreman.toml"
    ),
    short_help="Print the settings in force and the source of each.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"file", "settings": {NAME: {"value", "from", …}}}, as GET /settings.',
)
@takes_settings
def config(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Print the settings that 'foreman serve' would use, and the source of each.

    Takes the same flags as 'foreman serve'. Secrets are shown as ***. 'foreman config import' writes the settings for a
    configuration of llama-swap instead.
    """
    if click.get_current_context().invoked_subcommand:
        return
    given = {name: value for name, value in flags.items() if value is not None}
    settings = load(config, given)
    file = settings.origins.file
    if as_json:
        found = msgspec.to_builtins(list(every(settings)))
        print_json({"file": file and str(file), "settings": {one.pop("name"): one for one in found}}, indent=2)
        return
    show_table(
        ("SETTING", "FROM", "VALUE"),
        (
            (one.name, Text(one.source, style="dim" if one.source == DEFAULT else ""), one.text)
            for one in every(settings)
        ),
    )
    click.echo(f"file: {file}" if file else f"file: none (there is no {DEFAULT_FILE})", err=True)


config.add_command(import_config)
