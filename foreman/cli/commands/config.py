"""`foreman config`: the settings in force and the source of each."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click
from dotenv import dotenv_values
from rich.text import Text

from foreman.cli.commands.config_import import import_config
from foreman.cli.console import show_table
from foreman.cli.exit_codes import epilog
from foreman.cli.script_output import print_json
from foreman.cli.setting_options import shown, takes_settings, without_secrets
from foreman.config.settings import Settings
from foreman.config.sources import DEFAULT_FILE, PREFIX, load


@click.group(
    invoke_without_command=True,
    epilog=epilog(
        "foreman config", "foreman config --json", "foreman config import llama-swap config.yaml > foreman.toml"
    ),
    short_help="Print the settings in force and the source of each.",
)
@click.option("--json", "as_json", is_flag=True, help='Print {"file", "settings": {NAME: {"value", "from"}}}.')
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
    file = file_of(config)
    origins = _origins(given, file)
    if as_json:
        found = {
            name: {"value": without_secrets(getattr(settings, name)), "from": origins[name]}
            for name in Settings.model_fields
        }
        print_json({"file": file and str(file), "settings": found}, indent=2)
        return
    show_table(
        ("SETTING", "FROM", "VALUE"),
        (
            (
                name,
                Text(origins[name], style="dim" if origins[name] == "default" else ""),
                shown(Settings.model_fields[name], value),
            )
            for name, value in ((name, getattr(settings, name)) for name in Settings.model_fields)
        ),
    )
    click.echo(f"file: {file}" if file else f"file: none (there is no {DEFAULT_FILE})", err=True)


config.add_command(import_config)


def file_of(config: Path | None) -> Path | None:
    """Return the path of the settings file; None without one."""
    named = config or (Path(os.environ["FOREMAN_CONFIG"]) if os.environ.get("FOREMAN_CONFIG") else None)
    return named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def _origins(given: dict[str, Any], file: Path | None) -> dict[str, str]:
    """Return the source in force for each setting."""
    variables = {name.lower() for name in os.environ}
    dotenv = {name.lower() for name in dotenv_values(".env")}
    in_file = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    origins = {}
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name}".lower()
        strongest_first = {
            "flag": name in given,
            "environment": variable in variables,
            "secret file": f"{variable}_file" in variables,
            ".env": variable in dotenv,
            "file": name in in_file,
        }
        origins[name] = next((origin for origin, names_it in strongest_first.items() if names_it), "default")
    return origins
