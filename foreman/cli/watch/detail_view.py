"""One job in detail: its fields, its changes, its question and its answer as far as it is there; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.cells import cell_len, chop_cells
from rich.text import Text

from foreman.cli.answer import figures
from foreman.cli.console import ago, between, clock, span, state_text
from foreman.cli.plain import one_line, plain
from foreman.cli.watch.now_view import nothing
from foreman.cli.watch.state import Detail
from foreman.client import Job
from foreman.domain.job import RUNNING, State

NAME = 10  # columns
INDENT = "  "


def head_of(detail: Detail, now: datetime) -> Text:
    """Return the line above the text: what job it is, and how it stands."""
    job = detail.job
    if job is None:
        return Text(f"job {plain(detail.job_id)} is gone", style="red")
    times = [between(job.started_at, now)] if job.state in RUNNING else []
    if job.state is State.QUEUED:
        times = [f"for {ago((now - job.created_at).total_seconds())}"]
        times += [f"position {job.queue_position}"] if job.queue_position else []
        times += [f"about {span(job.eta_seconds)} to go"] if job.eta_seconds else []
    said = " · ".join(filter(None, [one_line(job.model), one_line(job.target or ""), *times]))
    return Text(plain(job.job_id), style="bold") + Text("  ") + state_text(job.state) + Text(f"  {said}")


def detail_lines(detail: Detail, live: str, width: int) -> list[Text]:
    """Return the lines of the text, wrapped; `live` is the text of a running job so far."""
    job = detail.job
    if job is None:
        return []
    lines = list(_fields(job, width))
    lines += [Text(), Text("CHANGES", style="bold"), *_changes(detail)]
    if detail.prompt:
        lines += [Text(), Text("PROMPT", style="bold"), *wrapped(detail.prompt, width)]
    text = job.text if job.state is State.DONE else live
    if job.thinking and job.state is State.DONE:
        lines += [Text(), Text("THINKING", style="bold"), *wrapped(job.thinking, width, style="dim")]
    lines += [Text(), Text("ANSWER", style="bold")]
    lines += wrapped(text, width) if text else [nothing("nothing yet" if not job.ended else "no text")]
    return lines


def _fields(job: Job, width: int) -> Iterator[Text]:
    shown = {
        "waits": job.why.text if job.why else None,
        "error": Text(one_line(job.error), style="red") if job.error else None,
        "attempt": f"{job.attempt} of {job.max_attempts}",
        "priority": job.priority,
        "endpoint": job.endpoint,
        "custom id": job.custom_id,
        "caller": job.caller,
        "batch": job.batch_id,
        "metadata": ", ".join(f"{name}={value}" for name, value in (job.metadata or {}).items()),
        "figures": figures(job) if job.ended else None,
    }
    for name, value in shown.items():
        if value:
            text = value if isinstance(value, Text) else Text(one_line(value))
            first, *further = wrapped(text.plain, max(1, width - NAME - len(INDENT)), style=text.style, indent="")
            yield Text(f"{name:<{NAME}}", style="dim") + INDENT + first
            for line in further:
                yield Text(" " * (NAME + len(INDENT))) + line


def _changes(detail: Detail) -> Iterator[Text]:
    before: datetime | None = None
    for event in detail.events:
        lasted = f"+{between(before, event.timestamp)}" if before else ""
        where = f"attempt {event.attempt}" + (f" on {event.target}" if event.target else "") if event.attempt else ""
        said = one_line(f"{where}  {event.error or ''}")
        yield Text(f"{INDENT}{clock(event.timestamp)}  {lasted:>12}  ") + state_text(f"{event.state:<10}") + said
        before = event.timestamp


def wrapped(text: str, width: int, *, style: object = "", indent: str = INDENT) -> list[Text]:
    """Return a text in lines of at most `width` columns, cut at spaces where there are some."""
    room = max(1, width - len(indent))
    lines = [part for line in plain(text).expandtabs(4).split("\n") for part in _parts(line, room)]
    return [Text(indent + line, style=str(style)) for line in lines]


def _parts(line: str, room: int) -> Iterator[str]:
    while cell_len(line) > room:
        head = chop_cells(line, room)[0] or line[0]
        at = head.rfind(" ")
        cut = at + 1 if at > room // 2 else len(head)
        yield line[:cut].rstrip()
        line = line[cut:]
    yield line
