"""Submitting many jobs from a file: `foreman submit --file`."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import IO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from foreman.cli.console import console
from foreman.cli.error_lines import line_and_code
from foreman.cli.exit_codes import FAILED, INTERRUPTED, MISUSED, REFUSED
from foreman.cli.plain import plain
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Busy, Client, ClientError, ConnectFailed, Rejected, Submitted, Taken, Unauthorized

PRINTED = 20  # rejected lines printed one by one; --json lists all


def submit_file(client: Client, file: IO[bytes], *, as_json: bool, quiet: bool) -> int:
    """Submit every line, print the outcome, and return the exit code."""
    sum_, stopped = _Sum(keep=as_json), None
    with _Reading(file) as reading:
        try:
            for part in client.submit_parts(reading.lines()):
                sum_.add(part)
                if quiet and not as_json:
                    print_ids(taken.job_id for taken in part.jobs)
                reading.show(sum_.accepted)
        except (ClientError, KeyboardInterrupt) as error:
            stopped = error
    why, code = _why(stopped)
    if stopped is None and not sum_.last:
        click.echo(f"foreman: {reading.name} holds no jobs", err=True)
        return MISUSED
    if as_json:
        print_json(sum_.shown() | ({"error": why} if why else {}))
    elif sum_.last:
        _print(sum_, reading.name, quiet=quiet)
    if why:
        click.echo(plain(f"foreman: {why}"), err=True)
    if rest := _rest(stopped, sum_.last):
        click.echo(f"foreman: of {reading.name} from line {sum_.last + 1} on {rest}", err=True)
    return code or (REFUSED if sum_.rejected else 0)


class _Sum:
    """The outcome of all lines so far; with `keep`, of each line."""

    def __init__(self, *, keep: bool) -> None:
        self.accepted = self.rejected = self.last = 0
        self.errors: list[Rejected] = []
        self._jobs: list[Taken] = []
        self._keep = keep

    def add(self, part: Submitted) -> None:
        self.accepted += part.accepted
        self.rejected += part.rejected
        self.last = part.last
        self.errors += part.errors if self._keep else part.errors[: PRINTED - len(self.errors)]
        if self._keep:
            self._jobs += part.jobs

    def shown(self) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "jobs": self._jobs,
            "errors": self.errors,
            "last_line": self.last,
        }


class _Reading:
    """Reader of a file, with a progress bar on standard error where that is a terminal."""

    def __init__(self, file: IO[bytes]) -> None:
        name = getattr(file, "name", 0)
        self.name = "standard input" if name in ("<stdin>", 0) else str(name)
        self._file = file
        self._read = 0
        err = console(err=True)
        self._bar = Progress(
            TextColumn("{task.fields[jobs]:,} jobs"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("", total=_size(file), jobs=0)

    def __enter__(self) -> _Reading:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def lines(self) -> Iterator[bytes]:
        for line in self._file:
            self._read += len(line)
            yield line

    def show(self, jobs: int) -> None:
        self._bar.update(self._task, completed=self._read, jobs=jobs)


def _size(file: IO[bytes]) -> int | None:
    """Return the size of a regular file in bytes; None for a pipe."""
    try:
        found = os.fstat(file.fileno())
    except (OSError, io.UnsupportedOperation):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _print(sum_: _Sum, name: str, *, quiet: bool) -> None:
    for error in sum_.errors:
        hint = f": {error.hint}" if error.hint else ""
        click.echo(plain(f"{name}:{error.line}: {error.error}{hint}"), err=True)
    if sum_.rejected > len(sum_.errors):
        click.echo(f"… and {sum_.rejected - len(sum_.errors):,} more; --json lists them all", err=True)
    if not quiet:
        click.echo(f"accepted {sum_.accepted:,}, rejected {sum_.rejected:,}")


def _rest(stopped: BaseException | None, last: int) -> str:
    """Return a note about the lines without an answer; empty where none is needed."""
    unsent = isinstance(stopped, (Busy, Unauthorized)) or (isinstance(stopped, ConnectFailed) and stopped.nobody)
    if unsent:
        return "nothing is stored" if last else ""
    return "it is not known what is stored" if stopped else ""


def _why(stopped: BaseException | None) -> tuple[str, int]:
    if stopped is None:
        return "", 0
    if isinstance(stopped, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    return line_and_code(stopped) or (str(stopped), FAILED)
