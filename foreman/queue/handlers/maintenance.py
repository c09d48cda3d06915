"""The handlers of upkeep: what is due by the clock, notes, pruning, usage figures, checkpoints."""

from __future__ import annotations

import math

from foreman.domain import usage
from foreman.domain.errors import JobUnreadable, StoreUnavailable
from foreman.domain.job import Instant
from foreman.queue.commands import FORECASTS, KeepIndex, KeepUsage, Note, Prune
from foreman.queue.handlers.ledger import Ledger

OVERDUE_AT_ONCE = 500
INDEXED_AT_ONCE = 32  # jobs: some hundredths of a second of the writer
FULL_PAUSE = 5.0  # seconds until writes that met a full disk are retried


def note(ledger: Ledger, message: Note) -> None:
    """Store a note."""
    ledger.store.set_note(message.name, message.value)


def prune(ledger: Ledger, message: Prune) -> int:
    """Delete expired jobs and batches, and what ended as long ago at endpoints; return the number of the former."""
    if ttl := ledger.rules.job_ttl:
        ledger.store.prune_endpoint_deliveries(ledger.now - ttl, message.most)
    pruned = len(ledger.store.prune(ledger.now, message.most))
    return pruned + ledger.store.prune_batches(ledger.now, message.most - pruned)


def keep_usage(ledger: Ledger, message: KeepUsage) -> None:
    """Sample how many jobs run, prune old usage figures, and store the forecasts."""
    now = ledger.now
    ledger.tally.sample(now)
    minutes, hours = (usage.kept_since(step, now, ledger.rules.usage_history) for step in usage.STORED)
    ledger.store.prune_usage(minutes=minutes, hours=hours)
    if forecasts := ledger.outlook.unstored():
        ledger.store.set_note(ledger.name_of(FORECASTS), forecasts)


def keep_index(ledger: Ledger, message: KeepIndex) -> bool:
    """Make or drop the index of words by one step; return True while there is more to do."""
    return ledger.store.keep_index(wanted=ledger.rules.full_text, most=INDEXED_AT_ONCE)


def checkpoint(ledger: Ledger) -> int | StoreUnavailable:
    """Checkpoint the store's log outside of any transaction; return its size in bytes before, or the error."""
    try:
        return ledger.store.checkpoint()
    except StoreUnavailable as error:
        return error


def end_rests(ledger: Ledger) -> None:
    """End the pauses of load keys, and of models, that are over."""
    for target, state in ledger.outlook.states.items():
        ledger.schedule(target, state.at(ledger.now))


def wake_and_expire(ledger: Ledger) -> Instant:
    """Wake the jobs that became ready and expire the overdue ones; return the time before which a retry is useless."""
    again = -math.inf
    ledger.due_changed = True
    woken = ledger.store.wake(ledger.now)
    ledger.outlook.board.woke(woken)
    for job in ledger.store.overdue(ledger.now, OVERDUE_AT_ONCE):
        if isinstance(job, JobUnreadable):
            if not ledger.set_aside(job):  # unwritable too: its id is not text
                again = ledger.now + FULL_PAUSE
            continue
        ledger.expire(job)
    return again


def next_due(ledger: Ledger) -> Instant | None:
    """Return the time of the next change that needs no message, or None."""
    if ledger.unfinished:
        return ledger.now
    if ledger.due_changed:
        ledger.due, ledger.due_changed = ledger.store.next_due(), False
    every = ledger.outlook.states.values()
    ends = [ledger.due, ledger.looks_again, *(state.next_end() for state in every)]
    if ledger.claims.waiting and ledger.outlook.board.ready:  # jobs wait for a turn to end
        ends += [state.standing.next_end(ledger.now) for state in every]
    return min((end for end in ends if end is not None), default=None)
