"""The view of what runs, what waits and what happens, as rows; no I/O, no clock."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from foreman.cli.console import STATE_STYLES, between, clock, on_several_targets, span
from foreman.cli.plain import one_line, plain
from foreman.cli.watch.screen import SHORT, Row
from foreman.cli.watch.state import WatchState
from foreman.client import Event, Job, Running

Block: TypeAlias = Sequence[Text | Row]

STATE, WHEN, PRIORITY, READY = 10, 12, 7, 10  # columns
LONG = 26  # characters of a whole id
WHOLE = 100  # columns from which ids are shown whole
GAP = 2
TITLE = 1


def running_block(state: WatchState, width: int, room: int, now: datetime) -> Block:
    """Return the running jobs with the end of their text, and the number of jobs that do not fit."""
    jobs, several, ids = state.queue.running, on_several_targets(state.queue), ids_at(width)
    title = _title("RUNNING", ids, "FOR", "MODEL")
    if not jobs:
        return [title, nothing("nothing runs")]
    tall = max(1, min(3, (room - TITLE) // len(jobs) - 1))  # lines of text per job
    fits = max(1, (room - TITLE) // (tall + 1))
    rows: list[Text | Row] = [title]
    for job in jobs[:fits]:
        text = last_lines(state.text.get(job.job_id, ""), width - 2, tall)
        head = _runs(job, ids, now, with_target=several)
        rows.append(Row(f"run {job.job_id}", (head, *(Text(f"  {line}", style="dim") for line in text)), job.job_id))
    more = len(jobs) - fits
    return [*rows, nothing(f"{more:>8,} more")] if more > 0 else rows


def waiting_block(state: WatchState, width: int, room: int, now: datetime) -> Block:
    """Return the waiting jobs in order, and the number of jobs that do not fit."""
    ids = ids_at(width)
    if not state.queue.queued:
        return [_title("WAITING", ids), nothing("nothing waits")]
    title = _title("WAITING", ids, "FOR", f"{'PRIO':<{PRIORITY}}{'READY':<{READY}}MODEL")
    rows = [
        Row(f"wait {job.job_id}", (_waits(position, job, ids, now),), job.job_id)
        for position, job in enumerate(state.waiting[: max(0, room - TITLE)], 1)
    ]
    more = state.queue.queued - len(rows)
    if more > 0 and len(rows) + TITLE >= room and rows:
        more += 1
        rows.pop()
    return [title, *rows, nothing(f"{more:>8,} more")] if more > 0 else [title, *rows]


def events_block(state: WatchState, width: int, room: int) -> Block:
    """Return the newest events."""
    ids = ids_at(width)
    newest = list(state.events)[::-1][: max(0, room - TITLE)]
    rows: list[Text | Row] = [
        Row(f"event {one.seq} {one.job_id}", (_happened(one, ids),), one.job_id) for one in newest
    ]
    return [_title("EVENTS", ids, "AT", "MODEL"), *(rows or [nothing("nothing yet")])]


def ids_at(width: int) -> int:
    """Return how many characters of ids are shown at this width: the whole, or the end, which names a job too."""
    return LONG if width >= WHOLE else SHORT


def _runs(job: Running, ids: int, now: datetime, *, with_target: bool) -> Text:
    attempt = f"  attempt {job.attempt}" if job.attempt > 1 else ""
    target = f" on {one_line(job.target)}" if with_target and job.target else ""
    return _state_and_id(job.state, job.job_id, ids) + Text(
        f"{between(job.started_at, now):<{WHEN}}{one_line(job.model)}{target}{attempt}"
    )


def last_lines(text: str, width: int, height: int) -> list[str]:
    """Return the end of a text in exactly `height` lines of at most `width` columns."""
    tail = " ".join(plain(text)[-4 * width * height :].split())
    lines = textwrap.wrap(tail, width) if cell_len(tail) == len(tail) else chop_cells(tail, width)
    return [*lines, *[""] * (height - len(lines))][-height:]


def _waits(position: int, job: Job, ids: int, now: datetime) -> Text:
    style = {"high": "bold", "low": "dim"}.get(job.priority, "")
    eta = f"in {guess(job.eta_seconds)}" if job.eta_seconds else ""
    return (
        Text(f"{position:>8}  {set_cell_size(plain(job.job_id)[-ids:], ids + GAP)}")
        + Text(f"{between(job.created_at, now):<{WHEN}}")
        + Text(f"{one_line(job.priority):<{PRIORITY}}", style=style)
        + Text(f"{eta:<{READY}}{one_line(job.model)}")
        + Text(f"  {one_line(job.prompt_excerpt or '')}".rstrip(), style="dim")
    )


def guess(seconds: float) -> str:
    """Return a duration in one unit: 3.1 s, 4 min, 2 h, 3 d."""
    return " ".join(span(seconds).split()[:2])


def _happened(event: Event, ids: int) -> Text:
    said = f"{one_line(event.model)}  {one_line(event.error or '')}"
    return _state_and_id(event.state, event.job_id, ids) + Text(f"{clock(event.timestamp)[:8]:<{WHEN}}{said}")


def _state_and_id(state: str, job_id: str, ids: int) -> Text:
    return Text(f"{plain(state):<{STATE}}", style=STATE_STYLES.get(state, "")) + Text(
        set_cell_size(plain(job_id)[-ids:], ids + GAP)
    )


def _title(name: str, ids: int, when: str = "", rest: str = "") -> Text:
    """Return the title of a part, with heads for the columns after the id."""
    columns = " " * (STATE + ids + GAP - len(name)) + f"{when:<{WHEN}}{rest}"
    return Text(name, style="bold") + Text(columns.rstrip(), style="not bold dim")


def nothing(said: str) -> Text:
    """Return a remark in place of rows."""
    return Text(said, style="dim")
