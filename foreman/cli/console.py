"""Output for people: tables, a status line, and streamed text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import click
from rich.cells import cell_len
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from foreman.cli.columns import GAP, LEAST_OF_LAST, lay_out
from foreman.cli.plain import one_line, plain
from foreman.domain.views import Queue

STATE_STYLES = {
    "queued": "yellow",
    "loading": "cyan",
    "working": "blue",
    "done": "green",
    "failed": "red",
    "cancelled": "magenta",
    "expired": "magenta",
}
NUMBERS = {  # heads of columns that are aligned to the right
    *(
        "AGE",
        "TOOK",
        "FOR",
        "READY IN",
        "ATTEMPT",
        "ATTEMPTS",
        "SIZE",
        "CONTEXT",
        "WAITING",
        "RUNNING",
        "SPEED",
        "SEEN",
    ),
    *(
        "DONE",
        "FAILED",
        "ENDED",
        "LEFT",
        "LIMIT",
        "USED",
        "IN",
        "CACHED",
        "OUT",
        "BUSY",
        "WAIT 50%",
        "WAIT 95%",
        "COST",
        "LOADS",
    ),
}
PIPED_WIDTH = 1000  # columns; cells are not cut in a pipe


def console(*, err: bool = False) -> Console:
    """Return a console for standard output or standard error."""
    stream = sys.stderr if err else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not stream.isatty(),
    )


def state_text(state: str) -> Text:
    """Return the state of a job in its colour."""
    return Text(plain(state).replace("\n", " "), style=STATE_STYLES.get(state, ""))


def show_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    spare: Sequence[str] = (),
    keeps: Mapping[str, int] | None = None,
) -> None:
    """Print columns under heads, numbers to the right.

    On a narrow terminal, leave out the `spare` columns, in their order, then cut others; `keeps` as in lay_out. In a
    pipe nothing is cut, and no line ends in spaces.
    """
    cells = [[Text(one_line(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = {
        head: max([cell_len(head), *(row[number].cell_len for row in cells)]) for number, head in enumerate(heads)
    }
    if not sys.stdout.isatty():
        for row in [[Text(head) for head in heads], *cells]:
            padded = (cell.plain + " " * (widths[head] - cell.cell_len) for head, cell in zip(heads, row, strict=True))
            click.echo((" " * GAP).join(padded).rstrip())
        return
    for line in lay_out(heads, cells, console().width, spare=spare, right=NUMBERS, keeps=keeps):
        console().print(line)


def show_hanging(lead: Text, rest: Text) -> None:
    """Print `lead` and `rest` beside it; indent further lines of `rest` under its first."""
    out = console()
    if out.width < lead.cell_len + LEAST_OF_LAST or not sys.stdout.isatty():
        first, *further = rest.split("\n")
        out.print(lead + first if first else lead[: len(lead.plain.rstrip())])
        for line in further:
            out.print(Text(" " * lead.cell_len) + line)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(lead, rest)
    out.print(grid)


def span(seconds: float) -> str:
    """Return a duration as text: 0.42 s, 3.1 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 1:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, name, lesser, lesser_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole:.0f} {name} {rest // lesser:.0f} {lesser_name}"
    return ""


def ago(seconds: float) -> str:
    """Return an age in whole units of one kind: 32 s, 4 min, 2 h, 3 d."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def on_several_targets(queue: Queue) -> bool:
    """Return True if it says something on which target a job runs: there are several, or other nodes have some."""
    return len({*(target.name for target in queue.targets), *(job.target for job in queue.running)}) > 1


def between(begin: datetime | None, end: datetime | None) -> str:
    """Return the duration between two times as text; empty when one is unknown."""
    return span((end - begin).total_seconds()) if begin and end else ""


def clock(at: datetime, *, day: bool = False) -> str:
    """Return the local time of day, to the millisecond; with `day` date and time, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S.%f")[: None if day else 12]


class StatusLine:
    """Status line on standard error.

    Each status replaces the last one on a terminal, and is a line of its own elsewhere. With `silent`, print nothing.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._console = console(err=True)
        self._status: Status | None = None
        self._shown_line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, line: str) -> None:
        """Show `line` in place of the last one."""
        line = plain(line)
        if self._silent or line == self._shown_line:
            return
        self._shown_line = line
        if not self._console.is_terminal:
            click.echo(line, err=True)
        elif self._status:
            self._status.update(Text(line))
        else:
            self._status = self._console.status(Text(line))
            self._status.start()

    def clear(self) -> None:
        """Remove the line."""
        self._shown_line = ""
        if self._status:
            self._status.stop()
            self._status = None


class Typed:
    """Writer of a streamed answer to standard output; writes no part twice. A `dim` one writes reasoning."""

    def __init__(self, *, dim: bool = False) -> None:
        self._dim = dim
        self._shown = ""
        self._answer = ""
        self._line_open = False

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._answer

    def add(self, text: str) -> None:
        """Write more of the answer."""
        self._answer += plain(text)
        if self._answer.startswith(self._shown):
            self._write(self._answer[len(self._shown) :])
            self._shown = self._answer
        elif not self._shown.startswith(self._answer):  # another attempt gave another answer
            self._write(f"\n\n{self._answer}")
            self._shown = self._answer

    def start_over(self) -> None:
        """Start the answer again; write nothing while it repeats the text shown."""
        self._answer = ""

    def finish(self, whole: str) -> None:
        """Write the rest of the whole answer, and end the line."""
        self._answer = ""
        self.add(whole)
        self.end_line()

    def end_line(self) -> None:
        """End the current line, if any."""
        if self._line_open:
            self._write("\n")

    def _write(self, text: str) -> None:
        if not text:
            return
        self._line_open = not text.endswith("\n")
        click.echo(click.style(text, dim=True) if self._dim else text, nl=False)
        sys.stdout.flush()
