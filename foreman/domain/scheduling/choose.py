"""The choice of a target's next job from the heads of the lanes that it serves.

A lane is one load key in one priority class. The rules, in this order:

1. *Class.* `high`, `normal`, `low`, strictly. A class whose oldest job has waited longer than `limit` has a reserved
   share of the slot time: now and then one of its jobs goes before the higher classes.
2. *Turn.* Within a class the load keys whose turn it is go on, and others begin one where they fit beside them. A turn
   ends once it has lasted `limit` while another key of the class waits, but not before it has worked for as long as
   its load took (`turns.py`). A class that has begun none for that long, since turns of other classes went on, is
   *due*: its oldest job of a new key goes next, whatever goes on.
3. *Age.* The oldest job first.

So a backlog of K keys costs K loads, a high job waits for at most two lower ones, and no class starves.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from foreman.domain.job import NOBODY, CallerKey
from foreman.domain.scheduling.credits import IN_A_ROW, charge, next_class
from foreman.domain.scheduling.prefixes import PrefixTurn
from foreman.domain.scheduling.room import Room
from foreman.domain.scheduling.shares import Fairness, Shares
from foreman.domain.scheduling.turns import Moves, Turn, Visits

CLASSES = range(3)  # of priority, the most urgent first
OTHERS = ""  # a key that stands for many keys where positions are found; its turn does not end
ONE = Room.count(1)
NO_SHARES = Shares()


@dataclass(frozen=True, slots=True)
class OrderRules:
    """The settings for the order of jobs."""

    limit: float = 600  # seconds: the starvation limit
    share: float = 0.1  # of the slot time, for each class that has waited longer than `limit`
    slots: int = 1
    fairness: Fairness = field(default_factory=Fairness)
    prefix_turns: bool = True
    give_way: bool = True
    most_running: Mapping[str, int] = field(default_factory=dict)  # jobs at once, by name of a token with a limit


class Head(msgspec.Struct, frozen=True):
    """The oldest claimable job of a lane."""

    key: str
    priority: int
    since: float  # when it began to wait
    id: str
    caller: CallerKey = NOBODY


class Spent(msgspec.Struct, frozen=True):
    """The slot time of one attempt, including loading."""

    priority: int
    seconds: float
    reserved: bool  # True when it overtook a job of a higher class
    key: str = ""
    caller: CallerKey = NOBODY
    beyond: float = 0.0  # seconds that its caller is to be charged beyond what it was charged at the start


class Standing(msgspec.Struct, frozen=True):
    """The scheduler's state for one target: its turns, and the credits of each class. Passed in and returned."""

    turns: tuple[Turn, ...] = ()  # of keys that fit together, the one used last at the end
    credits: tuple[float, ...] = (0.0,) * len(CLASSES)  # seconds of slot time owed to each class
    started: tuple[int, ...] = ()  # the classes of the last IN_A_ROW jobs
    moves: Moves = msgspec.field(default_factory=Moves)
    visits: Visits = msgspec.field(default_factory=Visits)
    shares: Mapping[tuple[str, int], Shares] = msgspec.field(default_factory=dict)  # of lanes with several callers
    began: tuple[float, ...] = (0.0,) * len(CLASSES)  # when a job of each class last began a turn

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the load keys whose turn it is, the one used last at the end."""
        return tuple(turn.key for turn in self.turns)

    def turn(self, key: str) -> Turn | None:
        """Return the turn of a key, or None."""
        return next((turn for turn in self.turns if turn.key == key), None)

    def changed(self, turn: Turn) -> Standing:
        """Return the standing with another state of a turn; unchanged when the key has none."""
        return replace(self, turns=tuple(turn if one.key == turn.key else one for one in self.turns))

    def shares_of(self, key: str, priority: int) -> Shares:
        """Return the shares of a lane's callers."""
        return self.shares.get((key, priority), NO_SHARES)

    def charged(
        self,
        key: str,
        priority: int,
        caller: CallerKey,
        seconds: float,
        waiting: Collection[CallerKey],
        rules: OrderRules,
    ) -> Standing:
        """Return the standing after a caller of a lane was served; `waiting` are the callers that wait there.

        A lane with one caller needs no shares.
        """
        lane, others = (key, priority), set(waiting) - {caller}
        if lane not in self.shares and not others:
            return self
        shares = self.shares_of(*lane).charge(caller, seconds, waiting, rules.fairness)
        kept = {one: known for one, known in self.shares.items() if one != lane}
        if others or len(shares.callers) > 1:
            kept[lane] = shares
        return replace(self, shares=kept)

    def aged(self, key: str, priority: int, now: float) -> Standing:
        """Return the standing after a lane's oldest job began."""
        lane = key, priority
        if (shares := self.shares.get(lane)) is None:
            return self
        return replace(self, shares={**self.shares, lane: dataclasses.replace(shares, aged=now)})

    def prefixed(self, key: str, prefix: PrefixTurn | None) -> Standing:
        """Return the standing with another turn of prompts within the turn of a key."""
        turn = self.turn(key)
        return self if turn is None or turn.prefix is prefix else self.changed(replace(turn, prefix=prefix))

    def due_at(self, priority: int, since: float, limit: float) -> float:
        """Return when a class is due to begin a turn, if its oldest job that does not come last waits `since` then.

        Then that job, and the turn that the class began last, are older than any turn that goes on may become.
        """
        return max(since, self.began[priority]) + max(limit, *(2 * turn.load for turn in self.turns), 0.0)

    def is_due(self, priority: int, since: float, now: float, limit: float) -> bool:
        """Return True for a class that is due."""
        return now > self.due_at(priority, since, limit)

    def next_end(self, now: float) -> float | None:
        """Return the next time after `now` at which a wait of the turns is over, or None."""
        ends = [end for turn in self.turns for end in turn.ends()]
        return min((end for end in (*ends, self.moves.until) if end > now), default=None)


class Choice(msgspec.Struct, frozen=True):
    """The job to run next."""

    head: Head
    reserved: bool  # True when it overtakes a job of a higher class on the share of its own
    takes: str = ""  # the load key of a lower class that has jobs left and has to make room for it


def choose(
    heads: Sequence[Head],
    standing: Standing,
    *,
    running: Mapping[int, int],
    now: float,
    rules: OrderRules,
    keys_at_work: Collection[str] = (),
    room: Room = ONE,
) -> Choice | None:
    """Return the job to run next, or None when there is none now.

    `running` counts the running jobs by class, `keys_at_work` has their load keys, and `room` tells which keys fit
    together. A None may become a choice at `standing.next_end`. The cost grows with the number of lanes only.
    """
    if len(heads) == 1 and len({heads[0].key, *standing.keys, *keys_at_work}) == 1:
        return Choice(heads[0], False)  # no rule holds it back
    if not heads:
        return None
    view = _View(heads, standing, keys_at_work, room, now, rules)
    priority, reserved = next_class(_oldest(heads), standing, running, now, rules)
    held: Collection[str] = keys_at_work
    if (head := view.due(heads, priority)) is None:
        heads = view.ready(heads)
        if not (oldest := _oldest(heads)):
            return None
        priority, reserved = next_class(oldest, standing, running, now, rules)
        head = view.first([head for head in heads if head.priority == priority])
        held = view.held(head)
    if head.key in keys_at_work or room.fits({*held, head.key}):
        return Choice(head, reserved, view.taken(head))
    stays = view.stays(head, held)
    beside = [other for other in heads if other.key in stays and not view.ended(other.key)]
    return Choice(min(beside, key=lambda head: (head.priority, head.since, head.id)), False) if beside else None


def start(
    standing: Standing, choice: Choice, now: float, *, limit: float, room: Room = ONE, load: float = 0.0
) -> Standing:
    """Return the standing after starting the choice; loading its key takes `load` seconds, 0 when it is unknown.

    A turn that begins takes the place of those that have lasted `limit`; the jobs of their keys begin new ones.
    """
    head = choice.head
    turn, visits, moves, began = standing.turn(head.key), standing.visits, standing.moves, standing.began
    others = [other for other in standing.turns if other.key != head.key]
    new = turn is None
    if turn is None:
        began = (*began[: head.priority], now, *began[head.priority + 1 :])
        taken = standing.turn(choice.takes)
        if taken is not None:
            moves = moves.one(load + taken.load, now)
        gap = visits.gap(head.key, head.since)
        turn = Turn(head.key, now, priority=head.priority, load=load, took=taken is not None, gap=gap)
    elif turn.took:
        turn = turn.visited(head.since)
    keep = [turn]
    for other in reversed(others):
        if not (new and other.ended(now, limit)) and room.fits({other.key, *(kept.key for kept in keep)}):
            keep.insert(0, other)
        else:
            visits = visits.left(other)
    keep.remove(turn)
    started = (*standing.started, head.priority)[-IN_A_ROW:]
    return Standing((*keep, turn.started(now)), standing.credits, started, moves, visits, standing.shares, began)


def spend(
    standing: Standing,
    spent: Spent,
    heads: Iterable[Head],
    *,
    running: Mapping[int, int],
    now: float,
    rules: OrderRules,
) -> Standing:
    """Return the standing after an attempt; `heads` are waiting now, `running` counts the jobs still running."""
    return charge(standing, spent, _oldest(heads), running, now, rules)


def _oldest(heads: Iterable[Head]) -> dict[int, float]:
    """Return the time at which the oldest job of each class began to wait."""
    oldest: dict[int, float] = {}
    for head in heads:
        oldest[head.priority] = min(head.since, oldest.get(head.priority, math.inf))
    return oldest


class _View:
    """The lanes of a target beside what it works on."""

    def __init__(
        self,
        heads: Sequence[Head],
        standing: Standing,
        keys_at_work: Collection[str],
        room: Room,
        now: float,
        rules: OrderRules,
    ) -> None:
        self._standing = standing
        self._turns = {turn.key: turn for turn in standing.turns}
        self._keys_at_work = keys_at_work
        self._room = room
        self._now = now
        self._rules = rules
        self._waiting: dict[str, int] = {}  # the lowest class in which a key waits
        for head in heads:
            self._waiting[head.key] = max(head.priority, self._waiting.get(head.key, head.priority))
        # An idle turn does not keep others from beginning one.
        used = self._waiting.keys() | set(keys_at_work)
        self._beside: dict[str, bool] = {}
        self._live = [turn.key for turn in standing.turns if turn.key in used and not self.ended(turn.key)]

    def _fits(self, key: str) -> bool:
        """Return True if the key can be worked on beside those that go on."""
        if key not in self._beside:
            self._beside[key] = self._room.fits({key, *self._live})
        return self._beside[key]

    def ended(self, key: str) -> bool:
        """Return True for a key whose turn has lasted long enough for another one to begin."""
        return key != OTHERS and (turn := self._turns.get(key)) is not None and turn.ended(self._now, self._rules.limit)

    def due(self, heads: Sequence[Head], priority: int) -> Head | None:
        """Return the oldest job of a class that is due, of those that do not come last; None if it is not due."""
        of_class = (head for head in heads if head.priority == priority and not self._comes_last(head))
        oldest = min(of_class, key=lambda head: (head.since, head.id), default=None)
        is_due = oldest is not None and self._standing.is_due(priority, oldest.since, self._now, self._rules.limit)
        return oldest if is_due else None

    def _comes_last(self, head: Head) -> bool:
        """Return True for a job of a key that its class gave a turn, which has ended."""
        turn = self._turns.get(head.key)
        return turn is not None and turn.comes_last(head.priority, self._now, self._rules.limit)

    def ready(self, heads: Sequence[Head]) -> Sequence[Head]:
        """Return the heads whose jobs may start; changing the key for one of the others would cost too much now.

        While a job has to wait for that, no lower one changes the key in its place.
        """
        goes_on = any(self._turns[key].goes_on(self._now) for key in self._live if key in self._waiting)
        if not goes_on and not (self._standing.moves.bars(self._now) and any(map(self.taken, heads))):
            return heads
        known = {*self._turns, *self._keys_at_work}
        return [head for head in heads if head.key in known or self._fits(head.key)]

    def taken(self, head: Head) -> str:
        """Return the key of a lower class with jobs left that has to make room for the job; empty if there is none."""
        if head.key in self._turns or head.key in self._keys_at_work:
            return ""
        keys = [key for key in self._live if self._waiting.get(key, -1) > head.priority]
        if not keys or self._fits(head.key):
            return ""
        return next((key for key in keys if not self._room.fits({head.key, key})), keys[0])

    def first(self, heads: Sequence[Head]) -> Head:
        """Return the next one of the heads of a class."""
        known, last = self._turns, {head.key for head in heads if self._comes_last(head)}
        new = {head.key for head in heads if head.key not in last and (head.key not in known or self.ended(head.key))}
        oldest = min((head.since for head in heads if head.key in new), default=self._now)
        patient = self._now - oldest <= self._rules.limit  # else none begins beside the turns before the oldest

        def order(head: Head) -> tuple[int, float, str]:
            rank = 2 if head.key in last else 0
            if head.key in new:
                rank = 0 if (patient or head.since == oldest) and self._fits(head.key) else 1
            return rank, head.since, head.id

        return min(heads, key=order)

    def held(self, head: Head) -> Collection[str]:
        """Return the keys that cannot make room for the job now: those at work, and those that linger."""
        lingering = [
            turn.key
            for turn in self._standing.turns
            if turn.priority < head.priority
            and turn.key not in self._waiting
            and turn.key not in self._keys_at_work
            and turn.lingers(self._now)
        ]
        return {*self._keys_at_work, *lingering} if lingering else self._keys_at_work

    def stays(self, head: Head, held: Collection[str]) -> Collection[str]:
        """Return which of the held keys need not make room for the job: the ended turns do first, then the oldest."""
        ranks = {turn.key: rank for rank, turn in enumerate(self._standing.turns, start=1)}
        stay = {head.key}
        for key in sorted(held, key=lambda key: (self.ended(key), -ranks.get(key, 0))):
            if self._room.fits({*stay, key}):
                stay.add(key)
        return stay - {head.key}
