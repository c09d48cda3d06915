"""Where a job stands in the queue, as it is: nothing arriving, nothing ageing."""

from __future__ import annotations

from foreman import schedule
from foreman.job import Draft, Instant, Job, State
from foreman.schedule import Resident
from foreman.store.protocol import Reader

FAR = 1000  # positions are exact up to here


def of(store: Reader, job: Job, resident: Resident | None, now: Instant, limit: float) -> int | None:
    """The job's position: 1 is next, FAR means that or more, None when it does not wait.

    `limit` is the starvation limit in seconds.
    """
    if job.state is not State.QUEUED:
        return None
    level = schedule.tier(job.priority, job.since, now=now, limit=limit)
    before = store.rank(job, tier=level, now=now, limit=limit, most=FAR)
    if before < FAR:
        slices = store.slices(now=now, limit=limit, most=FAR)
        before += schedule.ahead(slices, resident, key=job.key, at_tier=level, now=now, limit=limit)
    return min(before + 1, FAR)


def line(store: Reader, resident: Resident | None, now: Instant, limit: float, most: int) -> list[Job]:
    """The jobs that would run next, in their order; up to `most`."""
    found: list[Job] = []
    slices = store.slices(now=now, limit=limit, most=most)
    for level, key, _ in schedule.turns(slices, resident, now=now, limit=limit):
        found += store.line(key, tier=level, now=now, limit=limit, most=most - len(found))
        if len(found) >= most:
            break
    return found


def of_next(store: Reader, draft: Draft, resident: Resident | None, now: Instant, limit: float) -> int:
    """The position of a job about to be added: behind all that wait in its key and tier, so no rows are counted."""
    slices = store.slices(now=now, limit=limit, most=FAR)
    level = schedule.tier(draft.priority, now, now=now, limit=limit)
    before = schedule.ahead(slices, resident, key=draft.key, at_tier=level, now=now, limit=limit)
    before += sum(part.count for part in slices if part.key == draft.key and part.tier == level)
    return min(before + 1, FAR)
