"""Jobs that give way: one of class `high` that finds no free slot gets that of a lower job, which starts over later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from foreman.domain.job import Job, Priority, State
from foreman.domain.scheduling import choose
from foreman.queue.candidates import Candidates
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.occupancy import Occupancy
from foreman.queue.sites import Site

WORTH = 3.0  # seconds that a job would still take, at least: what it has done so far is lost
MOST = 2  # times that one job gives way
SOON = 0.1  # seconds


def make_room(ledger: Ledger) -> None:
    """Tell running jobs to give way, as many as urgent ones wait for a slot."""
    outlook = ledger.outlook
    if not outlook.rules.give_way or outlook.paused or not ledger.running:
        return
    urgent = _urgent(ledger)
    while urgent > len(ledger.giving_way) + len(ledger.told_to_give_way):
        ways = (way for site in outlook.sites.values() for way in _ways(ledger, site))
        way = next(ways, None)
        if way is None:
            if any(_begins(ledger, job) for job in ledger.running.values()):
                ledger.looks_again = ledger.now + SOON
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


def _ways(ledger: Ledger, site: Site) -> Iterator[dict[str, str]]:
    """Yield the ways in which a target gets a slot for an urgent job: the jobs that give way, with that job."""
    if not site.open:
        return
    told = {**ledger.giving_way, **ledger.told_to_give_way}
    staying = [job for job in ledger.running.values() if job.target == (site.name or None) and job.id not in told]
    lower = [job for job in staying if _may_give_way(ledger, job)]
    lower.sort(key=lambda job: (-job.priority, -ledger.outlook.rest_of(job.id, ledger.now)))
    for some in ([job] for job in lower):
        if head := _first_without(ledger, site, some):
            yield {job.id: head.id for job in some}
    for key in {job.key for job in lower}:  # jobs of one key run together, and another key needs the whole target
        some = [job for job in lower if job.key == key]
        if len(some) > 1 and (head := _first_without(ledger, site, some)):
            yield {job.id: head.id for job in some}


def _may_give_way(ledger: Ledger, job: Job) -> bool:
    at_work = ledger.outlook.at_work.get(job.id)
    return (
        job.priority > Priority.HIGH
        and job.state is State.WORKING
        and job.gave_way < MOST
        and at_work is not None
        and at_work.began_at is not None  # what a load has cost is not thrown away
        and not at_work.shown()
        and ledger.outlook.rest_of(job.id, ledger.now) >= WORTH
    )


def _begins(ledger: Ledger, job: Job) -> bool:
    """Return True for a lower job whose request is about to be sent; nothing tells the queue that it was."""
    at_work = ledger.outlook.at_work.get(job.id)
    begins = job.state is State.WORKING and (at_work is None or at_work.began_at is None)
    return begins and job.priority > Priority.HIGH and job.gave_way < MOST


def _first_without(ledger: Ledger, site: Site, some: Sequence[Job]) -> choose.Head | None:
    """Return the urgent job that the target would run next if some jobs had left it; None if it is another one."""
    outlook, now = ledger.refreshed(), ledger.now
    told = {**ledger.giving_way, **ledger.told_to_give_way}
    leaving = {job.id for job in some}
    running = [job for job in ledger.running.values() if job.id not in leaving and job.id not in told]
    if sum(job.target == (site.name or None) for job in ledger.running.values() if job.id not in leaving) >= site.slots:
        return None
    candidates = Candidates(outlook, site, Occupancy(running), now)
    choice = choose.choose(
        candidates.heads(),
        outlook.turns_of(site.name).standing,
        running=candidates.running,
        now=now,
        rules=outlook.rules_of(site.slots),
        at_work=candidates.at_work,
        room=site.room(),
    )
    if choice is None or choice.head.priority != Priority.HIGH or not _is_worth_it(ledger, site, choice.head, some):
        return None
    return choice.head


def _is_worth_it(ledger: Ledger, site: Site, head: choose.Head, some: Sequence[Job]) -> bool:
    """Return True unless the way there and back takes long loads."""
    if any(job.key == head.key for job in some) or site.is_loaded(head.key):
        return True
    return ledger.outlook.load_seconds(site.name, head.key) < ledger.outlook.rules.limit / 2
