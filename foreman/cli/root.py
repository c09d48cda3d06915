"""The command group; turns every expected error into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
from typing import Any

import click

from foreman import __version__
from foreman.cli.exit_codes import EXIT_CODES, INSTALL, INTERRUPTED
from foreman.cli.plain import one_line
from foreman.program import interrupt_handler

GROUPS = {  # each command with its module
    "Run it": {"serve": "commands.serve", "demo": "commands.demo", "config": "commands.config"},
    "Give it work": {
        "run": "chat",
        "submit": "commands.submit",
        "batch": "commands.batch",
        "jobs": "commands.jobs",
        "show": "commands.jobs",
    },
    "See what happens": {
        "watch": "watch",
        "ps": "commands.ps",
        "models": "commands.models",
        "logs": "commands.job_logs",
        "history": "commands.job_history",
        "usage": "commands.usage",
        "open": "commands.open_page",
    },
    "Change a job": {
        "cancel": "commands.job_actions",
        "uncancel": "commands.job_actions",
        "retry": "commands.job_actions",
        "rm": "commands.job_actions",
    },
    "Hold the queue": {"pause": "commands.pause", "resume": "commands.pause"},
    "Targets": {
        "targets": "commands.targets",
        "drain": "commands.targets",
        "load": "commands.targets",
        "unload": "commands.targets",
        "nodes": "commands.nodes",
    },
    "Webhooks": {
        "listen": "commands.listen",
        "deliveries": "commands.deliveries",
        "redeliver": "commands.deliveries",
    },
    "Look after it": {
        "reload": "commands.reload",
        "doctor": "doctor",
        "backup": "commands.backup",
        "check": "commands.backup",
        "migrate": "commands.migration",
        "whoami": "commands.whoami",
        "token": "commands.token",
        "completion": "commands.shell_completion",
        "docs": "commands.docs",
    },
}
COMMANDS = {name: f"foreman.cli.{module}" for group in GROUPS.values() for name, module in group.items()}

LONGEST_LINE = 80  # columns of a command in the overview


class Commands(click.Group):
    """Command group that imports a command on first use, to keep the start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        try:
            command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        except ModuleNotFoundError as error:
            return _not_installed(cmd_name, error)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups."""
        widest = max(map(len, COMMANDS))
        for title, names in GROUPS.items():
            rows = [(name.ljust(widest), self._line(ctx, name)) for name in names]  # one column over all groups
            with formatter.section(title):
                formatter.write_dl(rows)

    def _line(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        assert command is not None
        return command.get_short_help_str(limit=LONGEST_LINE)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest the nearest name for an unknown one."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            from difflib import get_close_matches  # imported here: it would slow down every start

            if close := get_close_matches(args[0], COMMANDS, n=1):
                ctx.fail(f"No such command '{args[0]}'. Did you mean '{close[0]}'?")
        found = super().resolve_command(ctx, args)
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as set by __main__; from here on commands handle it
            signal.signal(signal.SIGINT, interrupt_handler())
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an expected error in one line and exit with its code."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Exception as error:  # the boundary between the program and its user
            from foreman.cli.error_lines import line_and_code  # imported here: the daemon does without the client

            known = line_and_code(error)
            if known is None:
                raise
            line, code = known
            click.echo(f"foreman: {one_line(line)}", err=True)
            ctx.exit(code)


def _not_installed(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return a command that takes any arguments and raises the error."""

    @click.command(
        name,
        short_help=f"(needs: {INSTALL})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def raise_it(arguments: tuple[str, ...]) -> None:
        raise error

    return raise_it


@click.group(
    cls=Commands,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="foreman", message="%(prog)s %(version)s")
def foreman() -> None:
    """A durable job queue in front of your own inference server.

    'foreman serve' starts it, 'foreman submit' sends it a prompt, 'foreman demo' shows both in a minute.
    """


def main() -> None:
    """Run the command line and end the process."""
    foreman(prog_name="foreman")
