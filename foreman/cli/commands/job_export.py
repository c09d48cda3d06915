"""The export of `foreman jobs`: all selected jobs on standard output, and on a terminal their count beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import click

from foreman.cli.console import console
from foreman.cli.plain import plain
from foreman.cli.script_output import escaped
from foreman.client import Client

ENDS = {"ndjson": b"\n", "csv": b"\r\n"}  # of lines; within a cell of CSV there is no such end


def export(
    client: Client,
    form: Literal["ndjson", "csv"],
    *,
    most: int | None,
    after: str | None,
    wanted: dict[str, Any],
) -> None:
    """Print all jobs that `wanted` selects, newest first, and then on standard error how many they were."""
    count = -1 if form == "csv" else 0  # its head
    with console(err=True).status("0 jobs") as status:
        for lines in _whole(client.export_as(form, limit=most, after=after, **wanted), ENDS[form]):
            click.echo(_shown(lines, form), nl=False)
            count += lines.count(ENDS[form])
            status.update(f"{count:,} jobs")
    click.echo(f"{count:,} {'job' if count == 1 else 'jobs'}", err=True)


def _whole(pieces: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """Yield the bytes up to the last end of a line in each piece."""
    rest = b""
    for piece in pieces:
        lines, found, rest = (rest + piece).rpartition(end)
        if found:
            yield lines + found
    if rest:
        yield rest


def _shown(lines: bytes, form: str) -> bytes:
    """Return lines for a file as they are; what would move a terminal's cursor is escaped, or left out of CSV."""
    if form == "ndjson":
        return escaped(lines.decode(errors="replace")).encode()
    return plain(lines.decode(errors="replace")).encode() if sys.stdout.isatty() else lines
