"""The counts of what runs."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.domain.job import Draft, Priority, State, queued
from foreman.queue.occupancy import Occupancy


def test_counts_follow_the_jobs_that_begin_and_end() -> None:
    jobs = [
        replace(
            queued(Draft(id=str(n), model=key, key=key, endpoint="/api/chat", payload=b"{}", owner=owner), 0.0),
            state=State.WORKING,
            priority=Priority.HIGH if n == 2 else Priority.NORMAL,
            target=target,
        )
        for n, (key, owner, target) in enumerate([("a", "x", None), ("a", "y", "t"), ("b", "x", "t")])
    ]
    counted = Occupancy(jobs)
    assert (counted.keys(""), counted.keys("t"), counted.keys("?")) == ({"a": 1}, {"a": 1, "b": 1}, {})
    assert counted.classes("t") == {Priority.NORMAL: 1, Priority.HIGH: 1}
    assert counted.by_owner == {"x": 2, "y": 1}
    counted.remove(jobs[2])
    counted.add(jobs[2])
    for job in jobs:
        counted.remove(job)
    assert not counted.by_owner
    assert not any(counted.keys(target) or counted.classes(target) for target in ("", "t"))
