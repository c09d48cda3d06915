"""The verbs together, and how every fault becomes one line and an exit code."""

from __future__ import annotations

import importlib
from typing import Any

import click

from foreman import __version__
from foreman.cli.codes import EPILOG, INTERRUPTED, line_and_code
from foreman.cli.screen import plain

VERBS = {
    "serve": "foreman.cli.serve",
    "demo": "foreman.cli.demo",
    "submit": "foreman.cli.submit",
    "jobs": "foreman.cli.jobs",
    "show": "foreman.cli.jobs",
    "config": "foreman.cli.config",
}


class Verbs(click.Group):
    """Imports a verb when it is asked for, so that each starts as fast as it can."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        verb = getattr(importlib.import_module(VERBS[cmd_name]), cmd_name)
        assert isinstance(verb, click.Command)
        return verb

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Exception as error:  # the boundary between the program and who typed it
            known = line_and_code(error)
            if known is None:
                raise
            line, code = known
            click.echo(f"foreman: {plain(line)}", err=True)
            ctx.exit(code)


@click.group(
    cls=Verbs,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="foreman", message="%(prog)s %(version)s")
def foreman() -> None:
    """A durable job queue in front of your own inference server.

    'foreman serve' starts it, 'foreman submit' gives it a prompt, 'foreman demo' shows both in a minute.
    """


def main() -> None:
    """Run the command line; ends the process."""
    foreman(prog_name="foreman")
