"""Render the screen as lines of text of the size of the terminal; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from foreman.cli.console import ago
from foreman.cli.plain import one_line, plain
from foreman.cli.watch.detail_view import detail_lines, head_of
from foreman.cli.watch.lists import list_rows
from foreman.cli.watch.now_view import GAP, TITLE, Block, events_block, nothing, running_block, waiting_block
from foreman.cli.watch.poller import about
from foreman.cli.watch.screen import SHORT, STATES, VIEWS, Look, Row, Screen
from foreman.cli.watch.state import WatchState

WIDE = 130  # columns from which waiting jobs and events are side by side
HINTS = {
    "list": "↑↓ ⏎ open  / filter  s states  c cancel  r retry  p pause  ? help  q quit",
    "detail": "↑↓ scroll  c cancel  r retry  p pause  ? help  q back",
    "help": "any key goes back",
    "typing": "⏎ keep  esc clear",
}
NAMES = {"": "all", "loading,working": "running", "cancelled,expired": "ended early"}  # of states
SHORTER = "⏎ open  / filter  c cancel  r retry  ? help  q quit"
HELP = (
    ("1 2 3 4 5, Tab", "now, jobs, targets, batches, nodes"),
    ("↑ ↓, j k", "select; scroll the text of a job"),
    ("PgUp PgDn, g G", "by pages; to the first, to the last"),
    ("Enter", "open the job; list the jobs of a batch"),
    ("/", "only rows that contain a text"),
    ("s", "jobs by state: queued, running, done …"),
    ("c", "cancel the job or batch, after a question"),
    ("r", "queue a job again that did not get done"),
    ("p", "pause the queue, or have it go on"),
    ("q, Esc", "back; q leaves from a list"),
    ("Ctrl-C, Ctrl-Z", "leave; stop until fg"),
)


def draw(state: WatchState, screen: Screen, width: int, height: int, now: datetime) -> list[Text]:
    """Return exactly `height` lines of at most `width` columns; tell `screen` what is on it."""
    lines = [_name(state, screen, width), _sum(state, now), *_targets(state), Text()]
    room = max(0, height - len(lines) - 1)  # the last line is the footer
    if screen.help:
        body = [Text("KEYS", style="bold"), *(Text(f"{keys:<16}", style="bold") + what for keys, what in HELP)]
        body += [Text(), Text(plain(state.url), style="dim")]
    elif screen.look.opened:
        body = _detail(state, screen, width, room, now)
    elif screen.look.view == "now":
        body = _now(state, screen, width, room, now)
    else:
        body = _list(state, screen, width, room, now)
    lines = [*_fill([*lines, *body], height - 1), _footer(screen, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _name(state: WatchState, screen: Screen, width: int) -> Text:
    left = Text("Foreman", style="bold")
    for number, view in enumerate(VIEWS, 1):
        left += Text("  ") + Text(f"{number} {view}", style="bold cyan" if view == screen.look.view else "not bold dim")
    if state.away:
        right = Text("● no answer", style="bold red")
    elif state.target_error:
        right = Text(one_line(f"{_away(state)} is away"), style="bold red")
    elif state.queue.paused:
        right = Text("paused", style="bold yellow")
    else:
        right = Text("● live", style="green")
    right.truncate(max(6, width // 3), overflow="ellipsis")
    left.truncate(max(0, width - right.cell_len - 1), overflow="ellipsis")
    return left + Text(" " * (width - left.cell_len - right.cell_len)) + right


def _away(state: WatchState) -> str:
    names = [target.name for target in state.queue.targets if not target.up]
    return ", ".join(names) if len(state.queue.targets) > 1 else "the target"


def _sum(state: WatchState, now: datetime) -> Text:
    queue = state.queue
    several = len(queue.targets) > 1
    if state.away:
        return Text(one_line(f"no answer, trying again: {state.away}"), style="red")
    if state.target_error and not several:
        return Text(one_line(f"target: {state.target_error}"), style="red")
    said = [
        *([] if several else [queue.resident or "no model loaded"]),
        f"{len(queue.running)} of {queue.slots} running",
        f"{queue.queued:,} waiting" + (f", oldest {ago(queue.oldest_seconds)}" if queue.oldest_seconds else ""),
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


def _now(state: WatchState, screen: Screen, width: int, room: int, now: datetime) -> list[Text]:
    running = _matching(running_block(state, width, max(TITLE + 2, room // 2), now), screen.query)
    rest = room - sum(len(item.lines) if isinstance(item, Row) else 1 for item in running) - 1
    wide = width >= WIDE
    half = (width - GAP) // 2 if wide else width
    waiting = _matching(waiting_block(state, half, rest if wide else max(rest // 2, TITLE + 1), now), screen.query)
    events = _matching(events_block(state, half, rest if wide else rest - len(waiting) - 1), screen.query)
    key = _selected(screen, [item for item in [*running, *waiting, *events] if isinstance(item, Row)], room)
    lines = [*_flat(running, key, width), Text()]
    if not wide:
        return [*lines, *_flat(waiting, key, width), Text(), *_flat(events, key, width)]
    for left, right in zip(_fill(_flat(waiting, key, half), rest), _fill(_flat(events, key, half), rest), strict=True):
        left.truncate(half, overflow="ellipsis")
        left.pad_right(half + GAP - left.cell_len)
        lines.append(left + right)
    return lines


def _list(state: WatchState, screen: Screen, width: int, room: int, now: datetime) -> list[Text]:
    look, listed = screen.look, state.listed
    if listed is None or listed.about != about(look):
        _selected(screen, [], room)
        return [nothing("reading …")]
    heads, rows = list_rows(look.view, listed.items, width, now)
    rows = [row for row in rows if _contains(row, screen.query)]
    above = [heads]
    if look.view == "jobs":
        above = [_states(look), heads]
    room = max(1, room - len(above))
    key = _selected(screen, rows, room)
    number = next((number for number, row in enumerate(rows) if row.key == key), 0)
    first = max(0, min(number - room // 2, len(rows) - room))
    return [*above, *(_flat(rows[first : first + room], key, width) or [nothing("nothing")])]


def _states(look: Look) -> Text:
    """Return the states that `s` goes through, the listed ones marked, and the batch whose lines are listed."""
    line = Text("s ", style="dim")
    for states in STATES:
        name = NAMES.get(states, states)
        line += Text("  ") + Text(name, style="bold cyan" if states == look.states else "not bold dim")
    if look.states not in STATES:
        line += Text("  ") + Text(one_line(look.states), style="bold cyan")
    wanted = [*look.filters, *([("batch", look.batch_id[-SHORT:])] if look.batch_id else [])]
    said = ", ".join(f"{name} {value}" for name, value in wanted)
    return line + Text(f"  of {one_line(said)}" if said else "", style="not dim")


def _detail(state: WatchState, screen: Screen, width: int, room: int, now: datetime) -> list[Text]:
    detail = state.detail
    if detail is None or detail.job_id != screen.look.opened:
        return [nothing("reading …")]
    lines = detail_lines(detail, state.text.get(detail.job_id, ""), width)
    room = max(1, room - 2)
    screen.page, screen.longest = room, max(0, len(lines) - room)
    at = screen.longest if screen.scroll is None else min(screen.scroll, screen.longest)
    return [head_of(detail, now), Text(), *lines[at : at + room]]


def _footer(screen: Screen, width: int) -> Text:
    if screen.asks:
        return Text(f"{screen.asks.question} y/n", style="bold yellow")
    if screen.typing:
        return Text(f"/{plain(screen.query)}▏", style="bold") + Text(f"  {HINTS['typing']}", style="not bold dim")
    if screen.said:
        return Text(one_line(screen.said), style="bold red" if screen.failed else "bold green")
    hints = HINTS["help" if screen.help else "detail" if screen.look.opened else "list"]
    hints = SHORTER if len(hints) > width else hints
    if screen.query and not screen.look.opened and not screen.help:
        return Text(f"/{plain(screen.query)}", style="bold") + Text(f"  esc clear  {hints}", style="not bold dim")
    return Text(hints, style="dim")


def _selected(screen: Screen, rows: Sequence[Row], page: int) -> str:
    """Tell the screen its rows; return the key of the selected one."""
    screen.rows, screen.page = rows, max(1, page - 1)
    return screen.current.key if screen.current else ""


def _matching(block: Block, query: str) -> Block:
    return [item for item in block if not isinstance(item, Row) or _contains(item, query)]


def _contains(row: Row, query: str) -> bool:
    return not query or any(query.lower() in line.plain.lower() for line in row.lines) or query in row.job_id


def _flat(block: Block, key: str, width: int) -> list[Text]:
    """Return the lines of a block; those of the selected row stand out."""
    lines: list[Text] = []
    for item in block:
        if not isinstance(item, Row):
            lines.append(item)
            continue
        for number, line in enumerate(item.lines):
            shown = line.copy()
            if item.key == key and not number:
                shown.truncate(width, overflow="ellipsis")
                shown.pad_right(width - shown.cell_len)
                shown.stylize("reverse")
            lines.append(shown)
    return lines


def _fill(lines: list[Text], height: int) -> list[Text]:
    """Return exactly `height` lines."""
    return [*lines, *(Text() for _ in range(height - len(lines)))][: max(0, height)]
