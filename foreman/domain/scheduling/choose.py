"""The order of work: which job goes next, decided from the heads of every lane.

A lane is one load key in one priority class. In force, in this order:

1. *Class.* `high`, `normal`, `low`, strictly. A class whose oldest job has waited longer than `limit` has a reserved
   share of the slot time: now and then one of its jobs goes before the higher classes.
2. *Turn.* In a class the load key at work goes on. Its turn ends once it has lasted `limit` while another key of the
   class waits.
3. *Age.* The oldest first.

So a backlog of K keys costs K loads, a high job waits for two lower ones at most, and nobody starves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

CLASSES = range(3)  # of priority, the most urgent first
NEXT_TO_NOTHING = 1e-6  # seconds: sums of floats come to zero no nearer than this
OTHERS = ""  # a key that stands for many in `order`, one after the other: its turn does not end
IN_A_ROW = 2  # jobs started one after the other while a job of a higher class waits


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide about the order."""

    limit: float = 600  # seconds: the starvation limit
    share: float = 0.1  # of the slot time, for each class that has waited longer than `limit`
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest job of a lane that may run now."""

    key: str
    priority: int
    since: float  # when it began to wait
    id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The load key whose turn it is, and when that turn began."""

    key: str
    since: float


@dataclass(frozen=True, slots=True)
class Spent:
    """The slot time that one attempt took, loading included."""

    priority: int
    seconds: float
    reserved: bool  # whether it went before a job of a higher class


@dataclass(frozen=True, slots=True)
class Standing:
    """Whose turn it is and what each class is owed, after the choices so far. It is passed in and given back."""

    turn: Turn | None = None
    credits: tuple[float, ...] = (0.0,) * len(CLASSES)  # seconds of slot time that each class is owed
    started: tuple[int, ...] = ()  # the classes of the last IN_A_ROW jobs


@dataclass(frozen=True, slots=True)
class Choice:
    """The job to run next."""

    head: Head
    reserved: bool  # whether it goes before a job of a higher class, on the share of its own


@dataclass(frozen=True, slots=True)
class Run:
    """Jobs of one lane that would follow each other."""

    key: str
    priority: int
    count: int


def choose(
    heads: Sequence[Head], standing: Standing, *, running: Mapping[int, int], now: float, rules: Rules
) -> Choice | None:
    """Return the job to run next, or None when there is none.

    `running` counts the jobs at work by class. What it costs grows with the number of lanes and nothing else.
    """
    oldest = _oldest(heads)
    if not oldest:
        return None
    priority, reserved = _class(oldest, standing, running, now, rules)

    def order(head: Head) -> tuple[int, float, str]:
        return _by_turn(head.key, standing.turn, now, rules), head.since, head.id

    return Choice(min((head for head in heads if head.priority == priority), key=order), reserved)


def start(standing: Standing, choice: Choice, now: float) -> Standing:
    """Return the standing after the choice was started."""
    head = choice.head
    turn = standing.turn if standing.turn and standing.turn.key == head.key else Turn(head.key, now)
    return Standing(turn, standing.credits, (*standing.started, head.priority)[-IN_A_ROW:])


def spend(
    standing: Standing, spent: Spent, heads: Iterable[Head], *, running: Mapping[int, int], now: float, rules: Rules
) -> Standing:
    """Return the standing after an attempt has ended; `heads` are those that wait now, `running` are still at work."""
    return _spend(standing, spent, _oldest(heads), running, now, rules)


def order(
    lanes: Iterable[tuple[Head, int]],
    standing: Standing,
    *,
    now: float,
    rules: Rules,
    seconds: Callable[[str], float],
) -> Iterator[Run]:
    """Yield in which order all the jobs would run if nothing came, as the same rules have it.

    `lanes` has the head of each lane and how many jobs wait in it, `seconds` is what a job of a key usually takes. All
    jobs of a lane count as old as their head.
    """
    waiting: dict[int, dict[str, tuple[Head, int]]] = {}
    for head, count in sorted(lanes, key=lambda lane: (lane[0].since, lane[0].id)):
        if count:
            waiting.setdefault(head.priority, {})[head.key] = head, count
    oldest = _oldest_of(waiting)
    while waiting:
        priority, reserved = _class(oldest, standing, {}, now, rules)
        queue = waiting[priority]
        head, left = queue[_by_age(queue, standing.turn, now, rules)]
        standing = start(standing, Choice(head, reserved), now)
        each = seconds(head.key)
        count = (
            1
            if reserved
            else min(
                left,
                _until_another(oldest, standing, priority, len(queue) > 1 and head.key != OTHERS, each, now, rules),
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
        standing = Standing(standing.turn, standing.credits, (*standing.started, *[priority] * (count - 1))[-IN_A_ROW:])
        standing = _spend(standing, Spent(priority, count * each, reserved), oldest, {}, now, rules)


def _oldest(heads: Iterable[Head]) -> dict[int, float]:
    """Return since when the oldest job of each class waits."""
    oldest: dict[int, float] = {}
    for head in heads:
        oldest[head.priority] = min(head.since, oldest.get(head.priority, math.inf))
    return oldest


def _oldest_of(waiting: Mapping[int, Mapping[str, tuple[Head, int]]]) -> dict[int, float]:
    return {priority: next(iter(queue.values()))[0].since for priority, queue in waiting.items()}


def _class(
    oldest: Mapping[int, float], standing: Standing, running: Mapping[int, int], now: float, rules: Rules
) -> tuple[int, bool]:
    """Return the class that goes next, and whether it goes before a higher one that waits."""
    highest = min(oldest)
    if len(standing.started) == IN_A_ROW and min(standing.started) > highest:
        return highest, False  # it has waited for as many as anybody ever has to
    owed = [
        priority
        for priority in oldest
        if priority > highest
        and standing.credits[priority] > NEXT_TO_NOTHING
        and _starves(priority, oldest, now, rules)
        and running.get(priority, 0) < rules.share * rules.slots
    ]
    if not owed:
        return highest, False
    return max(owed, key=lambda priority: (round(standing.credits[priority], 3), -priority)), True


def _starves(priority: int, oldest: Mapping[int, float], now: float, rules: Rules) -> bool:
    return priority in oldest and now - oldest[priority] > rules.limit


def _spend(
    standing: Standing, spent: Spent, oldest: Mapping[int, float], running: Mapping[int, int], now: float, rules: Rules
) -> Standing:
    """Return the standing in which every class has earned its share of the time, and paid for what it was given.

    What a class got in its own right it need not pay. A credit is kept only while its class starves, and no more than
    one `limit` earns; but while a job of the class runs, which will be paid at its end, nothing is taken away.
    """
    credits = []
    for priority, credit in enumerate(standing.credits):
        if priority != spent.priority:
            credit += rules.share * spent.seconds
        else:
            credit -= (1 - rules.share) * spent.seconds
            credit = credit if spent.reserved else max(0.0, credit)
        if not running.get(priority):
            most = rules.share * rules.limit if _starves(priority, oldest, now, rules) else 0.0
            credit = min(credit, most)
        credits.append(credit)
    return Standing(standing.turn, tuple(credits), standing.started)


def _by_turn(key: str, turn: Turn | None, now: float, rules: Rules) -> int:
    if turn is None or key != turn.key:
        return 1
    return 0 if key == OTHERS or now - turn.since < rules.limit else 2


def _by_age(queue: Mapping[str, object], turn: Turn | None, now: float, rules: Rules) -> str:
    """Return the key that goes next of those in `queue`, where the one with the oldest job stands first."""
    if turn and turn.key in queue and _by_turn(turn.key, turn, now, rules) == 0:
        return turn.key
    return next((key for key in queue if turn is None or key != turn.key), next(iter(queue)))


def _until_another(
    oldest: Mapping[int, float],
    standing: Standing,
    priority: int,
    others: bool,
    each: float,
    now: float,
    rules: Rules,
) -> int:
    """Return how many jobs of the key whose turn it is go before anything else can be chosen; 1 or more.

    `others` says whether another key of the class waits, `each` is what a job takes in seconds.
    """
    pace = max(each, 1e-9) / rules.slots  # seconds from one end to the next
    counts: list[float] = [1_000_000_000]
    if others and standing.turn:
        counts.append((standing.turn.since + rules.limit - now) / pace)
    for lower, since in oldest.items():
        if lower > priority and rules.share:
            if _starves(lower, oldest, now, rules):
                missing = NEXT_TO_NOTHING - standing.credits[lower]
                counts.append(math.floor(missing / (rules.share * max(each, 1e-9))) + 1)
            else:
                counts.append(math.floor((since + rules.limit - now) / pace))
    return max(1, math.ceil(min(counts)))
