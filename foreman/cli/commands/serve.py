"""`foreman serve`: the daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from foreman.cli.exit_codes import epilog
from foreman.cli.setting_options import takes_settings
from foreman.config.sources import load, rereading
from foreman.garbage import collection_paused


@click.command(
    epilog=epilog("foreman serve", "foreman serve --ollama-url http://127.0.0.1:11434 --slots 2"),
    short_help="Start Foreman.",
)
@takes_settings
def serve(config: Path | None, **flags: Any) -> None:
    """Start Foreman and serve until SIGTERM or Ctrl-C; a second one stops it at once.

    Every flag is a setting. Later sources override earlier ones: defaults, the TOML file, .env, the environment
    (FOREMAN_ and the name in upper case; for secrets also a file named in FOREMAN_…_FILE), flags. Lists are separated
    by commas; times and sizes take units such as '10 min' and '64 MiB'. Without a target, Foreman runs a small embedded
    model. 'foreman config' prints the settings in force.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    chosen, reread = load(config, given), rereading(config, given)
    with collection_paused(), _hidden("rich"):
        from foreman import supervisor  # imported here: a wrong setting is reported before the server loads

    sys.exit(supervisor.serve(chosen, reread=reread))


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Have imports of a package fail: structlog loads rich for tracebacks that Foreman never shows, 3 MB of it."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # the documented way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[package]
