"""Render the state as lines of text of the size of the terminal; no I/O, no clock."""

from __future__ import annotations

import textwrap
from datetime import datetime

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from foreman.cli.console import STATE_STYLES, between, clock, on_several_targets, span
from foreman.cli.plain import one_line, plain
from foreman.cli.watch.state import WatchState
from foreman.client import Event, Job, Running

STATE, ID, WHEN, PRIORITY, READY = 10, 26, 12, 7, 10  # columns
WIDE = 130  # columns from which waiting jobs and events are side by side
GAP = 2
TITLE = 1
HELP = "q quit"


def draw(state: WatchState, width: int, height: int, now: datetime) -> list[Text]:
    """Return exactly `height` lines of at most `width` columns."""
    lines = [_name(state, width), _sum(state, now), *_targets(state), Text()]
    room = height - len(lines) - 1  # the last line is the help
    running = _running(state, width, max(TITLE + 2, room // 2), now)
    lines += [*running, Text()]
    room -= len(running) + 1
    if width >= WIDE:
        half = (width - GAP) // 2
        beside = zip(_fill(_waiting(state, room, now), room), _fill(_events(state, room), room), strict=True)
        for left, right in beside:
            left.truncate(half, overflow="ellipsis")
            left.pad_right(half + GAP - left.cell_len)
            lines.append(left + right)
    else:
        waiting = _waiting(state, max(room // 2, TITLE + 1), now)
        lines += [*waiting, Text(), *_events(state, room - len(waiting) - 1)]
    lines = [*_fill(lines, height - 1), Text(HELP, style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _name(state: WatchState, width: int) -> Text:
    left = Text("Foreman", style="bold") + Text(f"  {plain(state.url)}", style="not bold")
    if state.away:
        right = Text(one_line(f"no answer, trying again: {state.away}"), style="bold red")
    elif state.target_error:
        right = Text(one_line(f"{_away(state)} is away"), style="bold red")
    elif state.queue.paused:
        right = Text("paused", style="bold yellow")
    else:
        right = Text("● live", style="green")
    right.truncate(max(0, width - left.cell_len - GAP), overflow="ellipsis")
    return left + Text(" " * (width - left.cell_len - right.cell_len)) + right


def _away(state: WatchState) -> str:
    names = [target.name for target in state.queue.targets if not target.up]
    return ", ".join(names) if len(state.queue.targets) > 1 else "the target"


def _sum(state: WatchState, now: datetime) -> Text:
    queue = state.queue
    several = len(queue.targets) > 1
    if state.target_error and not several:
        return Text(one_line(f"target: {state.target_error}"), style="red")
    said = [
        *([] if several else [queue.resident or "no model loaded"]),
        f"{len(queue.running)} of {queue.slots} running",
        f"{queue.queued:,} waiting" + (f", oldest {span(queue.oldest_seconds)}" if queue.oldest_seconds else ""),
        f"{state.per_minute(now):,} done in a minute",
    ]
    return Text(one_line(" · ".join(said)))


def _targets(state: WatchState) -> list[Text]:
    """Return a line with each of several targets: its jobs and slots, or why it takes none."""
    targets = state.queue.targets
    if len(targets) < 2:
        return []
    shown = []
    for target in targets:
        name = Text(one_line(target.name))
        if not target.up:
            name.append(" away", style="red")
        elif target.draining:
            name.append(f" draining {target.running}" if target.running else " drained", style="yellow")
        else:
            name.append(f" {target.running}/{target.slots}", style="dim" if not target.running else "")
        shown.append(name)
    return [Text(" · ").join(shown)]


def _running(state: WatchState, width: int, room: int, now: datetime) -> list[Text]:
    """Return the running jobs with the end of their text, and the number of jobs that do not fit."""
    jobs, several = state.queue.running, on_several_targets(state.queue)
    title = _title("RUNNING", "FOR", "MODEL")
    if not jobs:
        return [title, _nothing("nothing runs")]
    tall = max(1, min(3, (room - TITLE) // len(jobs) - 1))  # lines of text per job
    fits = max(1, (room - TITLE) // (tall + 1))
    lines = [title]
    for job in jobs[:fits]:
        text = last_lines(state.text.get(job.job_id, ""), width - 2, tall)
        lines += [_runs(job, now, with_target=several), *(Text(f"  {line}", style="dim") for line in text)]
    return _with_rest(lines, len(lines) + 1, len(jobs) - fits)


def _runs(job: Running, now: datetime, *, with_target: bool) -> Text:
    attempt = f"  attempt {job.attempt}" if job.attempt > 1 else ""
    target = f" on {one_line(job.target)}" if with_target and job.target else ""
    return _state_and_id(job.state, job.job_id) + Text(
        f"{between(job.started_at, now):<{WHEN}}{one_line(job.model)}{target}{attempt}"
    )


def last_lines(text: str, width: int, height: int) -> list[str]:
    """Return the end of a text in exactly `height` lines of at most `width` columns."""
    tail = " ".join(plain(text)[-4 * width * height :].split())
    lines = textwrap.wrap(tail, width) if cell_len(tail) == len(tail) else chop_cells(tail, width)
    return [*lines, *[""] * (height - len(lines))][-height:]


def _waiting(state: WatchState, room: int, now: datetime) -> list[Text]:
    if not state.queue.queued:
        return [_title("WAITING"), _nothing("nothing waits")]
    lines = [_waits(position, job, now) for position, job in enumerate(state.waiting, 1)][: room - TITLE]
    title = _title("WAITING", "FOR", f"{'PRIO':<{PRIORITY}}{'READY':<{READY}}MODEL")
    return _with_rest([title, *lines], room, state.queue.queued - len(lines))


def _with_rest(lines: list[Text], room: int, more: int) -> list[Text]:
    """Append the number of further jobs, in place of the last line where `room` is full."""
    if more <= 0:
        return lines
    cut = len(lines) - room + 1
    shown = lines[:-cut] if cut > 0 else lines
    return [*shown, _nothing(f"{more + max(0, cut):>8,} more")]


def _waits(position: int, job: Job, now: datetime) -> Text:
    style = {"high": "bold", "low": "dim"}.get(job.priority, "")
    eta = f"in {guess(job.eta_seconds)}" if job.eta_seconds else ""
    return (
        Text(f"{position:>8}  {set_cell_size(plain(job.job_id), ID + GAP)}")
        + Text(f"{between(job.created_at, now):<{WHEN}}")
        + Text(f"{one_line(job.priority):<{PRIORITY}}", style=style)
        + Text(f"{eta:<{READY}}{one_line(job.model)}")
    )


def guess(seconds: float) -> str:
    """Return a duration in one unit: 3.1 s, 4 min, 2 h, 3 d."""
    return " ".join(span(seconds).split()[:2])


def _events(state: WatchState, room: int) -> list[Text]:
    newest = [_happened(event) for event in list(state.events)[::-1][: max(0, room - TITLE)]]
    return [_title("EVENTS", "AT", "MODEL"), *(newest or [_nothing("nothing yet")])]


def _happened(event: Event) -> Text:
    said = f"{one_line(event.model)}  {one_line(event.error or '')}"
    return _state_and_id(event.state, event.job_id) + Text(f"{clock(event.timestamp)[:8]:<{WHEN}}{said}")


def _state_and_id(state: str, job_id: str) -> Text:
    return Text(f"{plain(state):<{STATE}}", style=STATE_STYLES.get(state, "")) + Text(
        set_cell_size(plain(job_id), ID + GAP)
    )


def _title(name: str, when: str = "", rest: str = "") -> Text:
    """Return the title of a part, with heads for the columns after the id."""
    columns = " " * (STATE + ID + GAP - len(name)) + f"{when:<{WHEN}}{rest}"
    return Text(name, style="bold") + Text(columns.rstrip(), style="not bold dim")


def _nothing(said: str) -> Text:
    return Text(said, style="dim")


def _fill(lines: list[Text], height: int) -> list[Text]:
    """Return exactly `height` lines."""
    return [*lines, *(Text() for _ in range(height - len(lines)))][: max(0, height)]
