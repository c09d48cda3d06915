"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tests.simulate.figures import Figures, Spread, Times
from tests.simulate.generate import PEOPLE
from tests.simulate.play import Setup

MOST_CALLERS = 20  # in the table, those with most jobs; --json has all of them
NONE = "–"
BOUND = "endless cache"


def heading(setup: Setup) -> str:
    """Return lines about the trace and the servers."""
    speed, callers, models = setup.speed, set[str](), set[str]()
    jobs = [one for one in setup.trace.requests if one.caller != PEOPLE]
    for request in jobs:
        callers.add(request.caller)
        models.add(request.model)
    span = jobs[-1].at - jobs[0].at
    load = f"{sum(map(speed.cold, jobs)) / setup.servers / span:.0%} load" if span else "all at once"
    people = len(setup.trace.requests) - len(jobs)
    beside = f"; {_many(people, 'call')} of people beside them" if people else ""
    answers = ", ".join(f"{rate:g} of {_many(count, 'answer')}" for count, rate in speed.answer)
    if len(speed.answer) == 1:
        answers = f"{speed.answer[0][1]:g} of answers"
    return (
        f"{_many(len(jobs), 'job')} of {_many(len(callers), 'caller')} for {_many(len(models), 'model')}, {load}, "
        f"seed {setup.seed}{beside}\n"
        f"{_many(setup.servers, 'server')} of {_many(speed.slots, 'slot')}; tokens per second: {speed.prompt:g} of "
        f"prompts, {answers}; {speed.load:g} s a load"
    )


def table(setup: Setup, found: Mapping[str, Figures]) -> str:
    """Return the figures of all policies side by side."""
    width = max(map(len, (*found, BOUND))) + 2
    lines = [f"{'':{width}}{'hit rate':>9}{'makespan':>12}{'busy':>12}{'loads':>8}{'wasted':>9}   Jain's index"]
    for name, one in found.items():
        fair = NONE if one.jain is None else f"{one.jain:.3f} at least, {_many(one.windows, 'window')}"
        lines.append(
            f"{name:{width}}{one.hit:9.3f}{one.makespan:10,.0f} s{one.busy:10,.0f} s{one.loads:8,}{one.wasted:9.1%}"
            f"   {fair}"
        )
    lines.append(f"{BOUND:{width}}{setup.trace.bound():9.3f}")
    names = "".join(f"{name:>9}" for name in ("mean", "p50", "p95", "p99"))
    lines += [
        "",
        f"{'':{width + 9}}{'waiting, s':^36}   {'completion, s':>24}",
        f"{'':{width}}{'jobs':>9}{names}   {names}",
    ]
    for title, rows in _parts(found):
        lines.append(title)
        for name, times in rows.items():
            cells = f"{_cells(times.waiting)}   {_cells(times.completion)}"
            lines.append(f"  {name:{width - 2}}{times.jobs:9,}{cells}")
    return "\n".join(lines)


def fields(setup: Setup, found: Mapping[str, Figures]) -> dict[str, Any]:
    """Return the figures for machines."""
    return {"bound": setup.trace.bound(), "policies": {name: asdict(one) for name, one in found.items()}}


def _parts(found: Mapping[str, Figures]) -> Iterator[tuple[str, dict[str, Times]]]:
    """Yield the parts of the jobs, each with the times that they took by policy."""
    one = next(iter(found.values()))
    yield "all", {name: figures.all for name, figures in found.items()}
    if len(one.by_class) > 1:
        for part in one.by_class:
            yield f"class {part}", {name: figures.by_class[part] for name, figures in found.items()}
    if len(one.by_caller) > 1:
        for part in list(one.by_caller)[:MOST_CALLERS]:
            yield part, {name: figures.by_caller[part] for name, figures in found.items()}


def _cells(spread: Spread) -> str:
    return "".join(f"{value:9,.1f}" for value in (spread.mean, spread.p50, spread.p95, spread.p99))


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
