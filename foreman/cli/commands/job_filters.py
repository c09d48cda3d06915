"""The filters of jobs as options: those of `foreman jobs`, and of the actions on all jobs that they select."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from foreman.cli.commands.shell_completion import model_names

F = TypeVar("F", bound=Callable[..., Any])


def filters(word: str) -> Callable[[F], F]:
    """Add the filters to a command; `word` says whose they are in the help, such as "Only" or "All"."""
    options = (
        click.option("--state", metavar="STATE[,STATE]", help=f"{word} jobs in these states."),
        click.option("-m", "--model", metavar="NAME", shell_complete=model_names, help=f"{word} jobs for this model."),
        click.option(
            "-p", "--priority", type=click.Choice(["high", "normal", "low"]), help=f"{word} jobs of this priority."
        ),
        click.option("--caller", metavar="NAME", help=f"{word} jobs of this caller, or of the token of this name."),
        click.option("--target", metavar="NAME", help=f"{word} jobs whose latest attempt was made there."),
        click.option("--custom-id", metavar="ID", help=f"{word} jobs with this custom id; a prefix if it ends with *."),
        click.option(
            "--metadata",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_pairs,
            help=f"{word} jobs with this in their metadata; may be given several times.",
        ),
        click.option(
            "--search",
            "q",
            metavar="WORDS",
            help=f"{word} jobs with all these words in the request or the answer; WORD* stands for all that begin so. "
            "Needs the setting full_text.",
        ),
        click.option("--error-code", metavar="CODE", help=f"{word} jobs whose latest error has this code."),
        click.option("--batch", "batch_id", metavar="ID", help=f"{word} lines of this batch."),
        click.option("--created-before", metavar="TIME", help=f"{word} jobs created before then."),
        click.option("--created-after", metavar="TIME", help=f"{word} jobs created then or later."),
        click.option("--ended-after", metavar="TIME", help=f"{word} jobs that ended then or later."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _pairs(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str] | None:
    """Return the pairs of --metadata, None without one. Raise BadParameter for other text, or two of one name."""
    found = dict[str, str]()
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} has no =: give NAME=VALUE")
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice, but a job has one value under each name")
        found[name] = value
    return found or None
