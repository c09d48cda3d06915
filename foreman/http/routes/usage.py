"""/usage: jobs, tokens and waits per minute, hour or day."""

from __future__ import annotations

from quart import Blueprint, Response, request

from foreman.domain import views
from foreman.domain.errors import FieldInvalid
from foreman.domain.times import rfc3339
from foreman.domain.usage import DAY, HOUR, MINUTE, SINCE, Group, Row, every_step, kept_since
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.query import check_names, choice, instant
from foreman.http.selection import LONGEST
from foreman.store.protocol import Reader

usage = Blueprint("usage", __name__)

STEPS = {"minute": MINUTE, "hour": HOUR, "day": DAY}
DEFAULT_STEPS = {"minute": 60, "hour": 24, "day": 30}  # back from now
MOST_STEPS = 1500  # of one answer
MOST_ROWS = 10_000


@usage.get("/usage")
async def figures() -> Response:
    """Show the usage of a period: one row per step, or with `by` one per name and step; of certain names only."""
    check_names("by", "from", "to", "step", *Group._fields)
    asked = request.args
    only = {name: _name(name, asked[name]) for name in Group._fields if name in asked}
    by: str | None = choice("by", asked.get("by"), {name: name for name in Group._fields})
    word = choice("step", asked.get("step"), {word: word for word in STEPS}) or "hour"
    ctx = context()
    step, now = STEPS[word], ctx.clock()
    begin, end = _times(word, now)
    prices = {model: cost.price() for model, cost in ctx.settings.cost.items()}

    def read(store: Reader) -> tuple[list[Row], str | None]:
        rows = store.usage(step=step, begin=begin, end=end, by=by, limit=MOST_ROWS + 1, only=only, prices=prices)
        since = store.note(SINCE)
        if by is not None:
            return rows, since
        depths = None if only else store.depths(step=step, begin=begin, end=end)
        live = ctx.outlook.board.waiting, len(store.running())
        return every_step(rows, depths, begin=begin, end=end, step=step, now=now, live=live), since

    rows, since = await visibility.read(read)
    if len(rows) > MOST_ROWS:
        given = f"{asked.get('from') or rfc3339(begin)} by {by}"
        raise FieldInvalid("from", given, f"must give at most {MOST_ROWS} rows: use a shorter period or a longer step")
    return json_answer(
        views.Report(
            step=word,
            start=views.moment(begin),
            end=views.moment(end),
            since=views.moment(float(since)) if since else None,
            rows=[_show(row) for row in rows],
        )
    )


def _name(field: str, given: str) -> str:
    if len(given) > LONGEST or "\0" in given:
        raise FieldInvalid(field, given, f"must be at most {LONGEST} characters without NUL")
    return given


def _times(word: str, now: float) -> tuple[int, int]:
    """Return the start of the first step and the end of the last one, at most that of the current step.

    Raise FieldInvalid for a period that is empty, too long, or no longer kept.
    """
    step = STEPS[word]
    kept = kept_since(step, now, context().settings.usage_history)
    asked_from, asked_to = (instant(name, request.args.get(name)) for name in ("from", "to"))
    if asked_to is not None and asked_to < kept:
        raise FieldInvalid("to", request.args["to"], f"must be {rfc3339(kept)} or later, the oldest kept")
    last = int(now // step + 1) * step
    end = last if asked_to is None else min(last, -int(-asked_to // step) * step)
    begin = end - DEFAULT_STEPS[word] * step if asked_from is None else int(asked_from // step) * step
    if asked_from is None:
        begin = min(max(begin, -(-kept // step) * step), end - step)
    elif asked_from < kept:
        more = ", or use step=hour" if word == "minute" else ""
        raise FieldInvalid("from", request.args["from"], f"must be {rfc3339(kept)} or later, the oldest kept{more}")
    if begin >= end:
        raise FieldInvalid("from", str(rfc3339(begin)), f"must be before {rfc3339(end)}, the end of the period")
    if (end - begin) // step > MOST_STEPS:
        raise FieldInvalid("from", str(rfc3339(begin)), f"must be at most {MOST_STEPS} steps ago: use a longer step")
    return begin, end


def _show(row: Row) -> views.Figures:
    figures = row.figures
    return views.Figures(
        start=views.moment(row.at),
        by=row.by,
        submitted=figures.submitted,
        done=figures.done,
        failed=figures.failed,
        cancelled=figures.cancelled,
        expired=figures.expired,
        prompt_tokens=figures.prompt_tokens,
        cached_tokens=figures.cached_tokens,
        answer_tokens=figures.answer_tokens,
        busy_seconds=round(figures.busy_seconds, 3),
        wait_p50=_rounded(figures.wait(0.5)),
        wait_p95=_rounded(figures.wait(0.95)),
        loads=figures.loads,
        cost=None if row.cost is None else round(row.cost, 6),
        waiting=row.waiting,
        running=row.running,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
