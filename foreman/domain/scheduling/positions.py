"""The order in which all jobs would run, for positions and expected times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from foreman.domain.scheduling.choose import ONE, OTHERS, Choice, Head, OrderRules, Spent, Standing, start
from foreman.domain.scheduling.credits import IN_A_ROW, NEXT_TO_NOTHING, charge, next_class, starves
from foreman.domain.scheduling.room import Room


@dataclass(frozen=True, slots=True)
class Run:
    """A run of consecutive jobs of one lane."""

    key: str
    priority: int
    count: int


def order(
    lanes: Iterable[tuple[Head, int]],
    standing: Standing,
    *,
    now: float,
    rules: OrderRules,
    seconds: Callable[[str], float],
    room: Room = ONE,
) -> Iterator[Run]:
    """Yield the order in which all jobs would run by these rules if no job were added.

    `lanes` has the head of each lane and its number of waiting jobs; `seconds` returns the usual duration of a key's
    jobs. All jobs of a lane count as old as their head.
    """
    waiting: dict[int, dict[str, tuple[Head, int]]] = {}
    for head, count in sorted(lanes, key=lambda lane: (lane[0].since, lane[0].id)):
        if count:
            waiting.setdefault(head.priority, {})[head.key] = head, count
    oldest = _oldest_of(waiting)
    while waiting:
        priority, reserved = next_class(oldest, standing, {}, now, rules)
        queue = waiting[priority]
        head, left = queue[_by_age(queue, standing, priority, now, rules)]
        standing = start(standing, Choice(head, reserved), now, limit=rules.limit, room=room)
        each = seconds(head.key)
        count = (
            1
            if reserved
            else min(
                left,
                _until_another(
                    oldest,
                    standing,
                    priority,
                    len(queue) > 1 and head.key != OTHERS,
                    _oldest(queue, standing, priority, now, rules),
                    each,
                    now,
                    rules,
                ),
            )
        )
        yield Run(head.key, priority, count)
        now += count * each / rules.slots
        queue[head.key] = head, left - count
        if count == left:
            del queue[head.key]
            if not queue:
                del waiting[priority]
            oldest = _oldest_of(waiting)
        started = (*standing.started, *[priority] * (count - 1))[-IN_A_ROW:]
        standing = replace(standing, started=started)
        standing = charge(standing, Spent(priority, count * each, reserved), oldest, {}, now, rules)


def _oldest_of(waiting: Mapping[int, Mapping[str, tuple[Head, int]]]) -> dict[int, float]:
    return {priority: next(iter(queue.values()))[0].since for priority, queue in waiting.items()}


def _oldest(
    queue: Mapping[str, tuple[Head, int]], standing: Standing, priority: int, now: float, rules: OrderRules
) -> Head | None:
    """Return the oldest head of a class of those that do not come last; `queue` is sorted by age."""
    last = {turn.key for turn in standing.turns if turn.comes_last(priority, now, rules.limit)} - {OTHERS}
    return next((head for key, (head, _) in queue.items() if key not in last), None)


def _by_age(
    queue: Mapping[str, tuple[Head, int]], standing: Standing, priority: int, now: float, rules: OrderRules
) -> str:
    """Return the next key of a class, whose keys are sorted by their oldest job."""
    oldest = _oldest(queue, standing, priority, now, rules)
    if oldest is None:
        return next(iter(queue))
    if standing.is_due(priority, oldest.since, now, rules.limit):
        return oldest.key
    turns = {turn.key: turn for turn in standing.turns}
    going = (key for key in queue if key in turns and (key == OTHERS or not turns[key].ended(now, rules.limit)))
    return next(going, oldest.key)


def _until_another(
    oldest: Mapping[int, float],
    standing: Standing,
    priority: int,
    others: bool,
    first: Head | None,
    each: float,
    now: float,
    rules: OrderRules,
) -> int:
    """Return how many jobs of the current key go before another choice is possible; 1 or more.

    `others` is True when another key of the class waits, and `first` is the oldest of its jobs that do not come
    last; `each` is the duration of a job in seconds.
    """
    pace = max(each, 1e-9) / rules.slots  # seconds from one end to the next
    counts: list[float] = [1_000_000_000]
    if others and standing.turns:
        counts.append((standing.turns[-1].since + rules.limit - now) / pace)
    if first is not None and (due := standing.due_at(priority, first.since, rules.limit) - now) >= 0:
        counts.append(math.floor(due / pace))
    for lower, since in oldest.items():
        if lower > priority and rules.share:
            if starves(lower, oldest, now, rules):
                missing = NEXT_TO_NOTHING - standing.credits[lower]
                counts.append(math.floor(missing / (rules.share * max(each, 1e-9))) + 1)
            else:
                counts.append(math.floor((since + rules.limit - now) / pace))
    return max(1, math.ceil(min(counts)))
