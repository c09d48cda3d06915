"""A picture of replays: what the slots worked on, and how long jobs waited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from tests.simulate.play import Record, Setup
from tests.simulate.table import heading
from tests.simulate.trace import Request

WIDTH, LEFT, RIGHT = 760, 116, 16
STRIP, GAP = 16, 3  # the height of a slot, and the space below it
PLOT = 150  # the height of a plot of waiting times
MOST_SLOTS = 8  # drawn
HUES = 12
BEGINNINGS, MODELS = "beginning of the prompt", "model"

STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #171b22 }
.muted { fill: #576071 }
.end { text-anchor: end }
.middle { text-anchor: middle }
.idle { fill: #eef1f4 }
.loading { fill: #171b22 }
.grid { stroke: #dfe3e8; fill: none }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ebf0 }
  .muted { fill: #9aa5b5 }
  .idle { fill: #1e242d }
  .loading { fill: #e8ebf0 }
  .grid { stroke: #2a313c }
}"""
LINES = ("#7b8698", "#2459d3", "#c26a00", "#15753d", "#8a4fbf", "#c62f25")  # of the policies


def picture(setup: Setup, records: Mapping[str, Record]) -> str:
    """Return an SVG: for each policy a strip of colours over time, below them its waiting times by class."""
    parts: list[str] = []
    y = 14
    for line in heading(setup).splitlines():
        parts.append(_text(0, y, line, "muted"))
        y += 16
    y += 8
    end = max(max(record.done.values()) for record in records.values())
    colour, legend = _colours(setup)
    for name, record in records.items():
        strips = _strips(setup, record, end, colour)
        parts.append(_text(0, y + 12, name))
        for strip in strips[:MOST_SLOTS]:
            parts.append(f'<path class="idle" d="M{LEFT} {y}h{_INNER}v{STRIP}h-{_INNER}z"/>')
            parts += [f'<path {look} d="{_bars(columns, y)}"/>' for look, columns in strip.items()]
            y += STRIP + GAP
        y += 8
    for share in range(5):
        at = LEFT + _INNER * share / 4
        parts.append(_text(at, y + 8, _duration(end * share / 4, end), "muted middle" if share < 4 else "muted end"))
    y += 30
    at = LEFT
    for look, words in legend:
        parts.append(f'<rect {look} x="{at}" y="{y - 10}" width="12" height="12"/>')
        parts.append(_text(at + 17, y, words))
        at += 34 + 7 * len(words)
    y += 34
    at = LEFT
    for number, name in enumerate(records):
        parts.append(f'<path class="line" stroke="{LINES[number % len(LINES)]}" d="M{at} {y - 4}h16"/>')
        parts.append(_text(at + 22, y, name))
        at += 40 + 7 * len(name)
    y += 20
    classes = sorted({request.priority for request in setup.trace.requests})
    width = (_INNER - 70 * (len(classes) - 1)) / len(classes)
    for number, priority in enumerate(classes):
        waits = {name: _waits(setup, record, priority) for name, record in records.items()}
        jobs = "jobs" if len(classes) == 1 else f"jobs of class {priority.word}"
        parts += _plot(waits, LEFT + number * (width + 70), y, width, f"waiting of {jobs}, the shortest first")
    y += PLOT + 40
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">\n'
        f"<style>\n{STYLE}\n</style>\n{body}\n</svg>\n"
    )


_INNER = WIDTH - LEFT - RIGHT
_LOADING = 'class="loading"'


def _colours(setup: Setup) -> tuple[Callable[[Request], str], list[tuple[str, str]]]:
    """Return how a request is drawn, and the legend: by its model, or by the beginning of its prompt if all are one."""
    models = sorted({request.model for request in setup.trace.requests})
    if len(models) > 1:
        looks = {model: _hue(number, len(models)) for number, model in enumerate(models)}
        named = [(look, model) for model, look in list(looks.items())[:MOST_SLOTS]]
        return lambda request: looks[request.model], [*named, (_LOADING, "loading")]
    beginnings: dict[int, int] = {}
    for request in setup.trace.requests:
        beginnings.setdefault(request.blocks[0], len(beginnings))
    words = "a colour for each beginning of a prompt, used again after 12"
    return lambda request: _hue(beginnings[request.blocks[0]] % HUES, HUES), [(_hue(0, HUES), words)]


def _hue(number: int, of: int) -> str:
    return f'fill="hsl({(220 + round(360 * number / of)) % 360},60%,55%)"'


def _strips(
    setup: Setup, record: Record, end: float, colour: Callable[[Request], str]
) -> list[dict[str, list[tuple[int, int]]]]:
    """Return for each slot the runs of columns, from and to, by how they are drawn.

    A column has the colour of what took most of its time.
    """
    spans: dict[tuple[str, int], list[tuple[float, float, str]]] = defaultdict(list)
    for served in record.log.served:
        look = colour(setup.trace.requests[served.number])
        spans[served.server, served.slot].append((served.start, served.end, look))
    for load in record.log.loads:
        for slot in range(setup.speed.slots):
            spans[load.server, slot].append((load.start, load.end, _LOADING))
    return [_runs(spans[slot], _INNER / end) for slot in sorted(spans)]


def _runs(spans: Sequence[tuple[float, float, str]], scale: float) -> dict[str, list[tuple[int, int]]]:
    columns: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for start, end, look in spans:
        for column in range(int(start * scale), int(end * scale) + 1):
            columns[column][look] += min(end * scale, column + 1) - max(start * scale, column)
    runs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for column in sorted(columns):
        look, took = max(columns[column].items(), key=lambda one: one[1])
        if took < 0.5 and column + 1 not in columns:
            continue
        last = runs[look]
        if last and last[-1][1] == column:
            last[-1] = last[-1][0], column + 1
        else:
            last.append((column, column + 1))
    return runs


def _bars(runs: Sequence[tuple[int, int]], y: int) -> str:
    return "".join(f"M{LEFT + start} {y}h{end - start}v{STRIP}h-{end - start}z" for start, end in runs)


def _waits(setup: Setup, record: Record, priority: int) -> list[float]:
    requests = setup.trace.requests
    return sorted(
        served.start - requests[number].at
        for number, served in record.last().items()
        if requests[number].priority == priority
    )


def _plot(waits: Mapping[str, Sequence[float]], left: float, top: int, width: float, title: str) -> list[str]:
    """Return a plot: how long each part of the jobs waited at most."""
    most = max(values[-1] for values in waits.values()) or 1.0
    parts = [_text(left, top + 4, title)]
    top += 14
    for share in range(3):
        y = top + PLOT * share / 2
        parts.append(f'<path class="grid" d="M{left:g} {y:g}h{width:g}"/>')
        parts.append(_text(left - 6, y + 4, _duration(most * (2 - share) / 2, most), "muted end"))
    for share in range(3):
        at = left + width * share / 2
        parts.append(_text(at, top + PLOT + 16, f"{50 * share}%", "muted middle" if share < 2 else "muted end"))
    for number, values in enumerate(waits.values()):
        points = [
            (left + width * step / 100, top + PLOT * (1 - values[(len(values) - 1) * step // 100] / most))
            for step in range(101)
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line" stroke="{LINES[number % len(LINES)]}" d="{path}"/>')
    return parts


def _text(x: float, y: float, words: str, looks: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={looks!r}" if looks else ""}>{escape(words)}</text>'


def _duration(seconds: float, most: float) -> str:
    """Return seconds in the unit that fits the most of an axis."""
    if not seconds:
        return "0"
    if most < 200:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if most < 7200 else f"{seconds / 3600:.1f} h"
