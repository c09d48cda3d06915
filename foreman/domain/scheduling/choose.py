"""The choice of the next job from the heads of all lanes.

A lane is one load key in one priority class. The rules, in this order:

1. *Class.* `high`, `normal`, `low`, strictly. A class whose oldest job has waited longer than `limit` has a reserved
   share of the slot time: now and then one of its jobs goes before the higher classes.
2. *Turn.* Within a class the current load key goes on. Its turn ends once it has lasted `limit` while another key of
   the class waits.
3. *Age.* The oldest job first.

So a backlog of K keys costs K loads, a high job waits for at most two lower ones, and no class starves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

CLASSES = range(3)  # of priority, the most urgent first
NEXT_TO_NOTHING = 1e-6  # seconds; sums of floats are not exact
OTHERS = ""  # a key that stands for many keys in `order`; its turn does not end
IN_A_ROW = 2  # jobs that may start in succession while a job of a higher class waits


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings for the order of jobs."""

    limit: float = 600  # seconds: the starvation limit
    share: float = 0.1  # of the slot time, for each class that has waited longer than `limit`
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest claimable job of a lane."""

    key: str
    priority: int
    since: float  # when it began to wait
    id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The load key whose turn it is, and the beginning of the turn."""

    key: str
    since: float


@dataclass(frozen=True, slots=True)
class Spent:
    """The slot time of one attempt, including loading."""

    priority: int
    seconds: float
    reserved: bool  # True when it overtook a job of a higher class


@dataclass(frozen=True, slots=True)
class Standing:
    """The scheduler's state: the current turn and the credits of each class. Passed in and returned."""

    turn: Turn | None = None
    credits: tuple[float, ...] = (0.0,) * len(CLASSES)  # seconds of slot time owed to each class
    started: tuple[int, ...] = ()  # the classes of the last IN_A_ROW jobs


@dataclass(frozen=True, slots=True)
class Choice:
    """The job to run next."""

    head: Head
    reserved: bool  # True when it overtakes a job of a higher class on the share of its own


@dataclass(frozen=True, slots=True)
class Run:
    """A run of consecutive jobs of one lane."""

    key: str
    priority: int
    count: int


def choose(
    heads: Sequence[Head], standing: Standing, *, running: Mapping[int, int], now: float, rules: Rules
) -> Choice | None:
    """Return the job to run next, or None when there is none.

    `running` counts the running jobs by class. The cost grows with the number of lanes only.
    """
    oldest = _oldest(heads)
    if not oldest:
        return None
    priority, reserved = _class(oldest, standing, running, now, rules)

    def order(head: Head) -> tuple[int, float, str]:
        return _by_turn(head.key, standing.turn, now, rules), head.since, head.id

    return Choice(min((head for head in heads if head.priority == priority), key=order), reserved)


def start(standing: Standing, choice: Choice, now: float) -> Standing:
    """Return the standing after starting the choice."""
    head = choice.head
    turn = standing.turn if standing.turn and standing.turn.key == head.key else Turn(head.key, now)
    return Standing(turn, standing.credits, (*standing.started, head.priority)[-IN_A_ROW:])


def spend(
    standing: Standing, spent: Spent, heads: Iterable[Head], *, running: Mapping[int, int], now: float, rules: Rules
) -> Standing:
    """Return the standing after an attempt; `heads` are waiting now, `running` counts the jobs still running."""
    return _spend(standing, spent, _oldest(heads), running, now, rules)


def order(
    lanes: Iterable[tuple[Head, int]],
    standing: Standing,
    *,
    now: float,
    rules: Rules,
    seconds: Callable[[str], float],
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
    """Return the time at which the oldest job of each class began to wait."""
    oldest: dict[int, float] = {}
    for head in heads:
        oldest[head.priority] = min(head.since, oldest.get(head.priority, math.inf))
    return oldest


def _oldest_of(waiting: Mapping[int, Mapping[str, tuple[Head, int]]]) -> dict[int, float]:
    return {priority: next(iter(queue.values()))[0].since for priority, queue in waiting.items()}


def _class(
    oldest: Mapping[int, float], standing: Standing, running: Mapping[int, int], now: float, rules: Rules
) -> tuple[int, bool]:
    """Return the class that goes next, and True if it overtakes a waiting higher one."""
    highest = min(oldest)
    if len(standing.started) == IN_A_ROW and min(standing.started) > highest:
        return highest, False  # it has waited for IN_A_ROW lower jobs already
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
    """Return the standing after every class has earned its share of the time and the spending class has paid.

    Time that a class got as the highest one does not put it in debt. A credit is kept only while its class starves, and
    is capped at the earnings of one `limit`. It is not cut while a job of the class runs, since that job is paid at its
    end.
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
    """Return the next key of `queue`, whose keys are sorted by their oldest job."""
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
    """Return how many jobs of the current key go before another choice is possible; 1 or more.

    `others` is True when another key of the class waits; `each` is the duration of a job in seconds.
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
