"""POST /jobs/cancel, /jobs/retry and /jobs/delete: one action on all jobs that filters select, in steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace
from quart import Response, request

from foreman.domain import views
from foreman.domain.errors import FieldInvalid, RateLimited
from foreman.domain.job import RETRIABLE, TERMINAL, Job, State
from foreman.http import rate_limit, visibility
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.query import check_names, choice
from foreman.http.routes import uncancel
from foreman.http.selection import FILTERS, has_filter, read_selection
from foreman.queue.commands import Message
from foreman.queue.selection_commands import CancelSelected, Changed, DeleteSelected, RetrySelected
from foreman.store.protocol import Reader
from foreman.store.records import Cursor, Selection

STEP = 1000  # jobs of one transaction; between two of them others are served
MOST = 100_000  # jobs of one answer


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to selected jobs."""

    command: Callable[[Selection], Message[Changed]]
    states: frozenset[State]  # those that it is for
    lines: bool = False  # True when it is for lines of batches too
    counts: bool = False  # True when each job counts for the setting rate


CANCEL = Action(CancelSelected, frozenset(State) - TERMINAL, lines=True)
RETRY = Action(RetrySelected, frozenset(RETRIABLE), counts=True)
DELETE = Action(DeleteSelected, frozenset(TERMINAL))


async def act(action: Action) -> Response:
    """Act on the selected jobs, newest first; with `dry_run=true` only count them.

    Only jobs that the action is for are walked, so that a repeated call goes on where this one ended.
    """
    check_names(*FILTERS, "dry_run")
    if not has_filter():
        raise FieldInvalid("query", "no filter", f"must have at least one of {', '.join(FILTERS)}")
    dry: bool = choice("dry_run", request.args.get("dry_run"), {"true": True, "false": False}) or False
    wanted = read_selection()
    fit = _fit(wanted, action)

    def count(store: Reader) -> tuple[int, int]:
        return store.count(wanted, most=MOST), store.count(fit, most=MOST) if dry and fit else 0

    matched, able = await visibility.read(count)
    found, done, seqs = (able, 0, []) if dry or fit is None else await _done(fit, action)
    matched = max(matched, found)  # more may have come since they were counted
    skipped = matched - (able if dry else done)
    if action is CANCEL:
        return json_answer(views.CancelledMany(matched, done, skipped, uncancel.show_changes(seqs)))
    return json_answer(views.Acted(matched, done, skipped))


def _fit(wanted: Selection, action: Action) -> Selection | None:
    """Return the selection of those that the action is for, and whose owner the caller may act for; None without."""
    caller = context().auth.caller(request)
    states = tuple(state for state in wanted.states or State if state in action.states)
    owner = wanted.owner if caller.admin else caller.name
    return replace(wanted, states=states, owner=owner, alone=not action.lines) if states else None


async def _done(fit: Selection, action: Action) -> tuple[int, int, list[range]]:
    """Act in steps; return how many jobs were found, how many of them changed, and the seqs of each step."""
    found, done, seqs = 0, 0, list[range]()
    after: Cursor | None = None
    while found < MOST:
        step = await _next(fit, after)
        ids = tuple(job.id for job in step)
        allowed = _within_rate(ids, first=found == 0) if action.counts else ids
        if allowed:
            changed = await context().queue.ask(action.command(replace(fit, ids=allowed)))
            done += changed.done
            seqs.append(changed.seqs)
        found += len(step)
        if len(step) < STEP or len(allowed) < len(step):
            break
        after = Cursor(ids[-1])
    return found, done, seqs


async def _next(fit: Selection, after: Cursor | None) -> list[Job]:
    return await visibility.read(lambda store: store.jobs(fit, after=after, limit=STEP))


def _within_rate(ids: tuple[str, ...], *, first: bool) -> tuple[str, ...]:
    """Return the jobs that the setting rate lets through. Raise RateLimited when the first of all is beyond it."""
    for index in range(len(ids)):
        try:
            rate_limit.count()
        except RateLimited:
            if first and index == 0:
                raise
            return ids[:index]
    return ids
