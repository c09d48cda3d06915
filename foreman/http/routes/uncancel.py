"""POST /jobs/uncancel: jobs that a cancel ended while they were queued, queued again as they were."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quart import Response, request

from foreman.domain import views
from foreman.domain.errors import FieldInvalid
from foreman.domain.job import JobEvent, State
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.query import SEQ_DIGITS, check_names
from foreman.queue.selection_commands import UncancelSelected
from foreman.store.records import Selection

STEP = 1000  # events of one transaction; between two of them others are served
MOST = 100_000  # events of one request
STRETCH = rf"\d{{1,{SEQ_DIGITS}}}-\d{{1,{SEQ_DIGITS}}}"
CHANGES = f"{STRETCH}(,{STRETCH}){{0,99}}"


def show_changes(seqs: Iterable[range]) -> str | None:
    """Return stretches of seqs as `act` takes them, for example `12-1011,1015-1020`; None without any."""
    joined: list[range] = []
    for one in filter(None, seqs):
        if joined and joined[-1].stop == one.start:
            one = range(joined.pop().start, one.stop)
        joined.append(one)
    return ",".join(f"{one.start}-{one.stop - 1}" for one in joined) or None


async def act() -> Response:
    """Queue the jobs again whose cancels have these seqs; skip those that ran, or were changed since."""
    check_names("changes")
    matched = done = 0
    for stretch in reversed(_read_changes(request.args.get("changes", ""))):  # the oldest jobs were cancelled last
        for start in reversed(range(stretch.start, stretch.stop, STEP)):
            step = await _cancels(range(start, min(start + STEP, stretch.stop)))
            waited = {event.job_id: event.at for event in step if event.previous is State.QUEUED}
            matched += len(step)
            if waited:
                done += (await context().queue.ask(UncancelSelected(_cancelled(waited), waited))).done
    return json_answer(views.Acted(matched, done, matched - done))


def _read_changes(given: str) -> list[range]:
    """Return the stretches of seqs. Raise FieldInvalid for malformed ones, or more than one request may have."""
    allowed = f"must be the `changes` of an answer of POST /jobs/cancel, at most {MOST} of them"
    if not re.fullmatch(CHANGES, given, re.ASCII):
        raise FieldInvalid("changes", given, allowed)
    ends = [part.split("-") for part in given.split(",")]
    found = [range(int(first), int(last) + 1) for first, last in ends]
    if not all(found) or sum(map(len, found)) > MOST:
        raise FieldInvalid("changes", given, allowed)
    return found


async def _cancels(seqs: range) -> list[JobEvent]:
    """Return the events of a stretch that say that jobs were cancelled, as far as the caller may see them."""
    found = await visibility.read(lambda store: store.events(after=seqs.start - 1, limit=len(seqs)))
    return [event for event in found if event.seq in seqs and event.state is State.CANCELLED]


def _cancelled(ids: Iterable[str]) -> Selection:
    """Return the jobs that are still cancelled, in no batch, and whose owner the caller may act for."""
    caller = context().auth.caller(request)
    owner = None if caller.admin else caller.name
    return Selection(ids=tuple(ids), states=(State.CANCELLED,), owner=owner, alone=True)
