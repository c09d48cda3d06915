"""`foreman usage`: what was done in a period, for whom, and how long it waited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import click

from foreman.cli.console import show_table, span
from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.script_output import print_json
from foreman.client import Client, Figures, Report, requests
from foreman.client.reading import decode

By = Literal["model", "caller", "target", "endpoint"]
BY: tuple[By, ...] = ("model", "caller", "target", "endpoint")
COUNTS = ("DONE", "FAILED", "IN", "CACHED", "OUT", "BUSY", "LOADS")
SPARE = ("LOADS", "CACHED", "FAILED")


class Period(NamedTuple):
    """A period back from now, and its rows."""

    length: timedelta
    step: str
    format: str  # of a row's time


PERIODS = {
    "hour": Period(timedelta(hours=1), "minute", "%H:%M"),
    "day": Period(timedelta(days=1), "hour", "%a %H:%M"),
    "week": Period(timedelta(days=7), "day", "%a %d %b"),
    "month": Period(timedelta(days=30), "day", "%a %d %b"),
    "year": Period(timedelta(days=365), "day", "%Y-%m-%d"),
}


@click.command(
    epilog=epilog("foreman usage", "foreman usage week --by model", "foreman usage month --by caller --json"),
    short_help="Show what was done, for whom, and the waits.",
)
@click.argument("period", type=click.Choice(list(PERIODS)), default="day")
@click.option("--by", type=click.Choice(BY), help="One line for each of these, with sums over the period.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of GET /usage.")
@reaches_foreman
def usage(period: str, by: By | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Show the jobs, tokens and waits of the last hour, day, week, month or year.

    One line a minute, hour or day in which something happened, and their sums. IN, CACHED and OUT are tokens of
    prompts, of those that needed no computation, and of answers. BUSY is the time in which slots worked, over all
    slots. Half of the jobs started within WAIT 50% of being ready, 95 % within WAIT 95%. The days are those of UTC.
    COST is shown where the setting cost names a model. The figures stay when jobs are deleted.
    """
    chosen = PERIODS[period]
    begin = datetime.now(UTC) - chosen.length
    with Client(url, token) as client:
        answer = client.raw(requests.usage(chosen.step, by, begin, None))
    if as_json:
        print_json(answer)
        return
    report = decode(answer, Report)
    if not any(map(_is_active, report.rows)):
        click.echo(f"nothing was done in the last {period}", err=True)
    elif by is None:
        _show_steps(report, chosen)
    else:
        _show_names(report, by)


def _show_steps(report: Report, period: Period) -> None:
    """Print a line for each step in which something happened."""
    total = _sum(report.rows)
    rows = [(*_cells(row, total), *_waits(row), _time(row, period)) for row in report.rows if _is_active(row)]
    heads = (*_heads(total), "WAIT 50%", "WAIT 95%", "FROM")
    show_table(heads, [*rows, (*_cells(total, total), "", "", "total")], spare=(*SPARE, "WAIT 50%"))


def _show_names(report: Report, by: str) -> None:
    """Print a line for each name, the one with the most work first."""
    names: dict[str, list[Figures]] = {}
    for row in report.rows:
        names.setdefault(row.by or "", []).append(row)
    sums = {name: _sum(rows) for name, rows in names.items()}
    order = sorted(sums, key=lambda name: (-sums[name].busy_seconds, -sums[name].submitted, name))
    total = _sum(sums.values())
    rows = [(*_cells(sums[name], total), name or "-") for name in order if _is_active(sums[name])]
    show_table((*_heads(total), by.upper()), [*rows, (*_cells(total, total), "total")], spare=SPARE)


def _is_active(row: Figures) -> bool:
    return any((row.submitted, row.done, row.failed, row.cancelled, row.expired, row.busy_seconds, row.loads))


def _sum(rows: Iterable[Figures]) -> Figures:
    """Return the sums; waits have none."""
    given = list(rows)
    names = ("submitted", "done", "failed", "cancelled", "expired")
    tokens = ("prompt_tokens", "cached_tokens", "answer_tokens")
    summed = (*names, *tokens, "busy_seconds", "loads")
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in given) for name in summed}
    costs = [row.cost for row in given if row.cost is not None]
    return Figures(start=datetime.now(UTC), cost=sum(costs) if costs else None, **sums)


def _heads(total: Figures) -> Sequence[str]:
    return COUNTS if total.cost is None else (*COUNTS, "COST")


def _cells(row: Figures, total: Figures) -> Sequence[str]:
    """Return the numbers of a row; with what it costs where prices are known."""
    counts = (row.done, row.failed, row.prompt_tokens, row.cached_tokens, row.answer_tokens)
    busy = span(row.busy_seconds) if row.busy_seconds else ""
    cells = (*map(_count, counts), busy, _count(row.loads))
    return cells if total.cost is None else (*cells, "" if row.cost is None else f"{row.cost:,.2f}")


def _waits(row: Figures) -> Sequence[str]:
    return tuple("" if wait is None else span(wait) for wait in (row.wait_p50, row.wait_p95))


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _time(row: Figures, period: Period) -> str:
    at = row.start if period.step == "day" else row.start.astimezone()
    return f"{at:{period.format}}"
