"""Jobs that give way: one of class `high` that finds no free slot gets that of a lower job, which starts over later."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from foreman.domain.job import Instant, Job, Priority, State
from foreman.domain.scheduling import choose
from foreman.queue.at_work import AtWork
from foreman.queue.candidates import Candidates
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.occupancy import Occupancy
from foreman.queue.sites import Site

LEAST = 0.5  # seconds until a slot is free by itself: for less no job is stopped
LOST = 2.0  # seconds of work that may be lost for each second that the urgent job waits less
LONG = 20.0  # seconds that an urgent job does not wait, whatever is lost
BESIDE = 0.5  # of the load that an urgent job needs anyway: less is not worth sparing
MOST = 2  # times that one job gives way
SOON = 0.1  # seconds


def make_room(ledger: Ledger) -> None:
    """Tell running jobs to give way, as many as urgent ones wait for a slot."""
    outlook = ledger.outlook
    if not outlook.rules.give_way or outlook.paused or not ledger.running:
        return
    urgent = _urgent(ledger)
    while urgent > len(ledger.giving_way) + len(ledger.told_to_give_way):
        unmet = urgent - len(ledger.giving_way) - len(ledger.told_to_give_way)
        ways = (way for site in outlook.own_sites.values() for way in _ways(ledger, site, unmet))
        way = next(ways, None)
        if way is None:
            ledger.looks_again = _next_look(ledger)
            return
        ledger.told_to_give_way |= way


def _urgent(ledger: Ledger) -> int:
    """Return how many urgent jobs wait that the quotas let run; those that run count for theirs."""
    board, limits = ledger.outlook.board, ledger.outlook.rules.most_running
    if not limits:
        return board.ready_in(Priority.HIGH)
    high = Counter(job.owner for job in ledger.running.values() if job.priority == Priority.HIGH)
    beyond = (board.ready_of[owner, Priority.HIGH] - max(0, most - high[owner]) for owner, most in limits.items())
    return board.ready_in(Priority.HIGH) - sum(max(0, jobs) for jobs in beyond)


def _ways(ledger: Ledger, site: Site, unmet: int) -> Iterator[dict[str, str]]:
    """Yield the ways in which a target gets a slot for an urgent job: the jobs that give way, with that job.

    `unmet` is the number of urgent jobs that wait and have no slot to come.
    """
    if not site.open:
        return
    told = {**ledger.giving_way, **ledger.told_to_give_way}
    staying = [job for job in ledger.running.values() if job.target == (site.name or None) and job.id not in told]
    at_work = ledger.outlook.at_work  # as it is now: meanwhile slots become free, on the event loop
    lower = [job for job in staying if _may_give_way(job, at_work.get(job.id))]
    if not lower:
        return
    took = {job.id: at_work[job.id].took(ledger.now) for job in lower}
    rests = sorted(ledger.outlook.rest_of(job.id, ledger.now) for job in staying)
    lower.sort(key=lambda job: (-job.priority, took[job.id], -ledger.outlook.rest_of(job.id, ledger.now)))
    waits = rests[min(unmet, len(rests)) - 1]  # until a slot is free by itself
    for some in ([job] for job in lower if _pays(waits, took[job.id])):
        if head := _first_without(ledger, site, some, waits):
            yield {job.id: _named(ledger, job, head) for job in some}
    for key in {job.key for job in lower}:  # where one key fits at a time, all its jobs must leave for another one
        some = [job for job in lower if job.key == key]
        pays = len(some) > 1 and _pays(rests[-1], max(took[job.id] for job in some))
        if pays and (head := _first_without(ledger, site, some, rests[-1])) and head.key != key:
            yield {job.id: _named(ledger, job, head) for job in some}


def _named(ledger: Ledger, job: Job, head: choose.Head) -> str:
    """Return the id of the job that goes first, which is empty if the other's caller must not see it."""
    return "" if ledger.rules.private_jobs and job.owner != head.caller[0] else head.id


def _pays(waits: float, lost: float) -> bool:
    """Return True if it is worth so many seconds of work, of each slot, that an urgent job does not wait."""
    return waits >= LONG or waits >= max(LEAST, lost / LOST)


def _next_look(ledger: Ledger) -> Instant | None:
    """Return when a lower job may be able to give way which is not now; nothing else tells the queue of that moment."""
    lower = [job for job in ledger.running.values() if job.priority > Priority.HIGH and job.gave_way < MOST]
    at_work = ledger.outlook.at_work
    if any(job.state is State.WORKING and not _has_request(at_work.get(job.id)) for job in lower):
        return ledger.now + SOON
    rests = [ledger.outlook.rest_of(job.id, ledger.now) for job in lower if _may_give_way(job, at_work.get(job.id))]
    soonest = min(rests, default=math.inf)  # if it still runs then, it may do so for longer
    return None if soonest == math.inf else ledger.now + max(LEAST, soonest)


def _may_give_way(job: Job, at_work: AtWork | None) -> bool:
    return (
        job.priority > Priority.HIGH
        and job.state is State.WORKING
        and job.gave_way < MOST
        and at_work is not None
        and _has_request(at_work)  # what a load has cost is not thrown away
        and not at_work.shown()
    )


def _has_request(at_work: AtWork | None) -> bool:
    return at_work is not None and at_work.began_at is not None


def _first_without(ledger: Ledger, site: Site, some: Sequence[Job], waits: float) -> choose.Head | None:
    """Return the urgent job that the target would run next if some jobs had left it; None if it is not worth that.

    Else it `waits`, in seconds, until a slot is free by itself.
    """
    outlook, now = ledger.refreshed(), ledger.now
    told = {**ledger.giving_way, **ledger.told_to_give_way}
    leaving = {job.id for job in some}
    running = [job for job in ledger.running.values() if job.id not in leaving and job.id not in told]
    if sum(job.target == (site.name or None) for job in ledger.running.values() if job.id not in leaving) >= site.slots:
        return None
    candidates = Candidates(outlook, site, Occupancy(running), now)
    choice = choose.choose(
        candidates.heads(),
        outlook.state_of(site.name).standing,
        running=candidates.running,
        now=now,
        rules=outlook.rules_of(site.slots),
        keys_at_work=candidates.keys_at_work,
        room=site.room(),
    )
    if (
        choice is None
        or choice.head.priority != Priority.HIGH
        or not _is_worth_it(ledger, site, choice.head, some, waits)
    ):
        return None
    return choice.head


def _is_worth_it(ledger: Ledger, site: Site, head: choose.Head, some: Sequence[Job], waits: float) -> bool:
    """Return False if the way there and back takes long loads, or one beside which what is spared is little."""
    if any(job.key == head.key for job in some) or site.is_loaded(head.key):
        return True
    load = ledger.outlook.load_seconds(site.name, head.key)
    return load < ledger.outlook.rules.limit / 2 and waits >= min(LONG, load * BESIDE)
