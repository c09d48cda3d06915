"""The figures of a replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.bench.figures import percentile
from tests.simulate.play import Record
from tests.simulate.trace import Request, Trace

WINDOW, STEP = 600, 60  # seconds of a window for the index of fairness, and from one to the next


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Times:
    """The times of some jobs, from their arrival."""

    jobs: int
    waiting: Spread  # until the server began with what became the answer
    completion: Spread


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a replay."""

    hit: float  # cached tokens of those of all prompts
    makespan: float  # seconds from the first arrival to the last answer
    busy: float  # slot seconds of the servers, loading apart
    loads: int
    wasted: float  # part of the busy time for attempts that brought no answer
    jain: float | None  # the least of all windows in which all callers of a class wait; None without one
    windows: int
    all: Times
    by_class: dict[str, Times]
    by_caller: dict[str, Times]


def figures(trace: Trace, record: Record) -> Figures:
    """Return the figures of a replay."""
    requests, last = trace.requests, record.last()
    busy = sum(served.end - served.start for served in record.log.served)
    wasted = sum(served.end - served.start for served in record.log.served if not served.done)
    least, windows = _fairness(trace, record)

    def times(numbers: Sequence[int]) -> Times:
        waiting = [last[number].start - requests[number].at for number in numbers]
        completion = [record.done[number] - requests[number].at for number in numbers]
        return Times(len(numbers), _spread(waiting), _spread(completion))

    def by(key: Callable[[Request], str]) -> dict[str, Times]:
        groups = defaultdict(list)
        for number, request in enumerate(requests):
            groups[key(request)].append(number)
        return {name: times(numbers) for name, numbers in groups.items()}

    return Figures(
        hit=sum(served.cached for served in last.values()) / sum(request.prompt for request in requests),
        makespan=max(record.done.values()) - requests[0].at,
        busy=busy,
        loads=len(record.log.loads),
        wasted=wasted / busy,
        jain=least,
        windows=windows,
        all=times(range(len(requests))),
        by_class=dict(sorted(by(lambda one: one.priority.word).items(), key=lambda one: CLASSES.index(one[0]))),
        by_caller=dict(sorted(by(lambda one: one.caller).items(), key=lambda one: -one[1].jobs)),
    )


CLASSES = ("high", "normal", "low")


def _spread(values: Sequence[float]) -> Spread:
    mean = sum(values) / len(values)
    return Spread(mean, *(percentile(values, share) for share in (0.5, 0.95, 0.99)))


def jain(shares: Sequence[float]) -> float:
    """Return Jain's index: 1 when all are equal, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _fairness(trace: Trace, record: Record) -> tuple[float | None, int]:
    """Return the least index of all windows in which all callers of a class wait, and the number of windows."""
    requests, last = trace.requests, record.last()
    found: list[float] = []
    for priority in {request.priority for request in requests}:
        waits, work = defaultdict(list), defaultdict(list)
        for number, request in enumerate(requests):
            if request.priority == priority:
                waits[request.caller].append((request.at, last[number].start))
        for served in record.log.served:
            if requests[served.number].priority == priority:
                work[requests[served.number].caller].append((served.start, served.end))
        if len(waits) < 2:
            continue
        waiting = [_joined(spans) for spans in waits.values()]
        start, end = max(spans[0][0] for spans in waiting), min(spans[-1][1] for spans in waiting)
        while start + WINDOW <= end:
            if all(any(a <= start and start + WINDOW <= b for a, b in spans) for spans in waiting):
                shares = [
                    sum(max(0.0, min(b, start + WINDOW) - max(a, start)) for a, b in work[caller]) for caller in waits
                ]
                found.append(jain(shares))
            start += STEP
    return min(found, default=None), len(found)


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans with those that touch made one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
