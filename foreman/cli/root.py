"""The verbs together, and how every fault becomes one line and an exit code."""

from __future__ import annotations

import importlib
import signal
from typing import Any

import click

from foreman import __version__
from foreman.cli.exit_codes import EXIT_CODES, INTERRUPTED, line_and_code
from foreman.cli.screen import one_line
from foreman.program import interrupt_handler

GROUPS = {
    "Run it": {"serve": "serve", "demo": "demo", "config": "config"},
    "Give it work": {"submit": "submit", "jobs": "jobs", "show": "jobs"},
    "See what happens": {"watch": "watch", "ps": "ps", "models": "models", "logs": "logs"},
    "Change a job": {"cancel": "job_actions", "retry": "job_actions", "rm": "job_actions"},
    "Hold the queue": {"pause": "queue", "resume": "queue"},
    "WebhookDispatcher": {"listen": "listen", "deliveries": "deliveries", "redeliver": "deliveries"},
    "Look after it": {
        "doctor": "doctor",
        "backup": "store",
        "check": "store",
        "token": "token",
        "completion": "completion",
    },
}
VERBS = {verb: f"foreman.cli.{module}" for group in GROUPS.values() for verb, module in group.items()}

LONGEST_LINE = 80  # columns of what the overview says of a verb


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            rows = [(verb.ljust(widest), self._line(ctx, verb)) for verb in verbs]  # one column over all groups
            with formatter.section(title):
                formatter.write_dl(rows)

    def _line(self, ctx: click.Context, verb: str) -> str:
        command = self.get_command(ctx, verb)
        assert command is not None
        return command.get_short_help_str(limit=LONGEST_LINE)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not ctx.resilient_parsing:
            from difflib import get_close_matches  # only here: every start would wait for it

            if close := get_close_matches(args[0], VERBS, n=1):
                ctx.fail(f"No such command '{args[0]}'. Did you mean '{close[0]}'?")
        found = super().resolve_command(ctx, args)
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as __main__ left it; from here on verbs answer to it
            signal.signal(signal.SIGINT, interrupt_handler())
        return found

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
            click.echo(f"foreman: {one_line(line)}", err=True)
            ctx.exit(code)


@click.group(
    cls=Verbs,
    epilog=EXIT_CODES,
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
