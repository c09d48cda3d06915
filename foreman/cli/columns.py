"""Columns under heads that fit a width: numbers to the right, what matters least left out first; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.text import Text

LEAST = 8  # columns; no column of text is cut further
LEAST_OF_LAST = 12  # columns that the last one keeps before another is left out
GAP = 2  # spaces between columns
HEAD = "dim"  # style


def lay_out(
    heads: Sequence[str],
    rows: Sequence[Sequence[Text]],
    room: int,
    *,
    spare: Sequence[str] = (),
    right: Collection[str] = (),
    keeps: Mapping[str, int] | None = None,
) -> list[Text]:
    """Return a line of heads and a line for each row, of at most `room` columns.

    A column without any cell is left out. Where there is too little room, the `spare` columns are, in their order; then
    the last column is cut, then the widest other than the first. `keeps` says how wide a column stays before a spare
    one is left out. Columns in `right` are aligned to the right.
    """
    keeps = {heads[-1]: LEAST_OF_LAST, **(keeps or {})}
    widths = {head: max([len(head), *(row[at].cell_len for row in rows)]) for at, head in enumerate(heads)}
    for at, head in enumerate(heads):
        if at and rows and not any(row[at] for row in rows):
            del widths[head]
    for head in spare:
        if _total(widths, keeps) <= room:
            break
        widths.pop(head, None)
    _cut(widths, room)
    lines = [_line([Text(head, style=HEAD) for head in heads], heads, widths, right)]
    lines += [_line(row, heads, widths, right) for row in rows]
    for line in lines:
        line.truncate(room, overflow="ellipsis")
    return lines


def _total(widths: Mapping[str, int], keeps: Mapping[str, int]) -> int:
    return sum(min(width, keeps.get(head, width)) for head, width in widths.items()) + GAP * (len(widths) - 1)


def _cut(widths: dict[str, int], room: int) -> None:
    """Cut the last column, then the widest of the others but the first, each time to what is needed."""
    names = list(widths)
    for head in [*names[-1:], *sorted(names[1:-1], key=lambda name: -widths[name])]:
        over = _total(widths, {}) - room
        if over > 0 and widths[head] > LEAST:
            widths[head] = max(LEAST, widths[head] - over)


def _line(row: Sequence[Text], heads: Sequence[str], widths: dict[str, int], right: Collection[str]) -> Text:
    line = Text()
    for head, cell in zip(heads, row, strict=True):
        if head not in widths:
            continue
        shown = cell.copy()
        shown.truncate(widths[head], overflow="ellipsis")
        space = " " * (widths[head] - shown.cell_len)
        gap = " " * GAP if line or head != next(iter(widths)) else ""
        line = line + gap + (Text(space) + shown if head in right else shown + space)
    line.rstrip()
    return line
