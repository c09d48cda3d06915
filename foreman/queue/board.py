"""The lanes in memory, sorted by age, so that claims and positions need not scan all of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from threading import Lock

from foreman.domain.job import CallerKey, Instant, Job, LoadKey, Priority
from foreman.domain.scheduling.choose import CLASSES, OTHERS, Head
from foreman.queue.class_lanes import ClassLanes
from foreman.queue.lines import NONE, Lines, Numbers
from foreman.store.protocol import Writer
from foreman.store.records import Line

AHEAD = 32  # jobs of a line that are read together, once it is drained in order

LaneKey = tuple[LoadKey, int]  # a load key and a priority
May = Callable[[LoadKey], bool]
LineKey = tuple[LoadKey, int, CallerKey]  # a lane and a caller


@dataclass(frozen=True, slots=True)
class Near:
    """The next lanes, each with its number of jobs."""

    lanes: list[tuple[Head, int]]
    others: dict[int, int]  # number of keys that OTHERS stands for, by class


class Board:
    """The lanes, each with the lines of its callers. The queue's thread writes it, any thread reads it.

    It is slightly ahead of the disk, since it changes within the transaction; `roll_back` undoes its changes. A line
    whose oldest job has left keeps it as its head until `refresh` reads the next one.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._classes = [ClassLanes() for _ in CLASSES]
        self._lines: dict[LaneKey, Lines] = {}
        self._by_key: Counter[LoadKey] = Counter()
        self.by_owner: Counter[str] = Counter()  # waiting jobs
        self.ready_of: Counter[tuple[str, int]] = Counter()  # claimable jobs by owner and class
        self.headless: set[LineKey] = set()  # lines whose next head is in the store
        self._next: dict[LineKey, deque[Head]] = {}  # jobs right behind a line's head, as far as they are known
        self._before: dict[LineKey, Numbers] = {}  # lines as the transaction found them
        self.version = 0  # changes with every line
        self.key_changes = 0  # how often a key began or ceased to wait
        self.lines = 0  # lines with jobs
        self.ready = 0  # claimable jobs
        self.waiting = 0  # claimable jobs and those with a start time in the future

    def __contains__(self, key: LoadKey) -> bool:
        """Return True when a job of the key waits."""
        return key in self._by_key

    @property
    def keys(self) -> int:
        """Return the number of different keys that wait."""
        return len(self._by_key)

    def keys_waiting(self) -> list[LoadKey]:
        """Return the load keys of waiting jobs."""
        return list(self._by_key)

    def size(self, key: LoadKey, priority: int) -> int:
        """Return the number of claimable jobs of a lane."""
        lanes = self._classes[priority]
        head = lanes.heads.get(key)
        return lanes.size(head) if head else 0

    def ready_in(self, priority: int) -> int:
        """Return the number of claimable jobs of a class."""
        return sum(self._classes[priority].sizes)

    def heads(self) -> list[Head]:
        """Return the oldest claimable job of every lane."""
        with self._lock:
            return [head for lanes in self._classes for head in lanes.heads.values()]

    def callers(self, key: LoadKey, priority: int) -> dict[CallerKey, tuple[Head, int]]:
        """Return the oldest claimable job of each caller in a lane, and their number; see `Lines.callers`."""
        with self._lock:
            lines = self._lines.get((key, priority))
            return lines.callers() if lines else {}

    def beyond(self, key: LoadKey, priority: int, caller: CallerKey) -> int:
        """Return how many jobs of a lane `callers` leaves out that go before a caller that it leaves out too."""
        with self._lock:
            lines = self._lines.get((key, priority))
            return lines.beyond(caller) if lines else 0

    def head_of(self, owner: str) -> Head | None:
        """Return the oldest claimable job of a token in the highest class of its jobs, or None."""
        with self._lock:
            heads = [head for lines in self._lines.values() if (head := lines.oldest_of(owner))]
        return min(heads, key=lambda head: (head.priority, head.since, head.id), default=None)

    def classes(self) -> list[int]:
        """Return the classes with claimable jobs. For the queue's thread."""
        return [priority for priority, lanes in enumerate(self._classes) if lanes.heads]

    def is_alone(self, key: LoadKey, priority: int, caller: CallerKey) -> bool:
        """Return True when no other caller's jobs wait in a lane. For the queue's thread."""
        lines = self._lines.get((key, priority))
        return lines is None or lines.are_only_of(caller)

    def is_all_of(self, key: LoadKey, priority: int, caller: CallerKey) -> bool:
        """Return True when all claimable jobs are one caller's in one lane. For the queue's thread."""
        return self.ready == self.size(key, priority) and self.is_alone(key, priority, caller)

    def headed_by(self, job_id: str) -> LineKey | None:
        """Return the line whose oldest claimable job this is, or None."""
        with self._lock:
            heads = (head for lines in self._lines.values() for _, (head, _, _) in lines if head)
            return next(((head.key, head.priority, head.caller) for head in heads if head.id == job_id), None)

    def all_lines(self) -> list[Line]:
        """Return the numbers of waiting jobs of every line."""
        with self._lock:
            return [
                Line(key=key, priority=Priority(priority), caller=caller, ready=ready, parked=parked)
                for (key, priority), lines in self._lines.items()
                for caller, (_, ready, parked) in lines
            ]

    def oldest(self) -> Instant | None:
        """Return the time since which the oldest claimable job waits, or None."""
        with self._lock:
            return min((lanes.ages[0][0] for lanes in self._classes if lanes.ages), default=None)

    def first(
        self, most: int, may: May, *, besides: Collection[LoadKey] = (), without: Collection[str] = ()
    ) -> list[Head]:
        """Return the heads of the `most` oldest lanes of each class, and those of the keys `besides`, for which `may`.

        `may` is asked for one lane after the other, the oldest first, until there are enough. The jobs of the owners
        `without` do not count.
        """
        found: list[Head] = []
        with self._lock:
            for priority, lanes in enumerate(self._classes):
                heads, ages = lanes.heads, lanes.ages
                if not heads:
                    continue
                if without:
                    first = ((key, self._lines[key, priority].oldest(without)) for key in heads)
                    heads = {key: head for key, head in first if head}
                    ages = sorted((head.since, head.id, key) for key, head in heads.items())
                keys = dict.fromkeys(key for key in besides if key in heads and may(key))
                keys.update(dict.fromkeys(islice((key for _, _, key in ages if may(key)), most)))
                found.extend(heads[key] for key in keys)
        return found

    def near(
        self,
        most: int,
        *,
        besides: Iterable[LoadKey] = (),
        resting: Collection[LoadKey] = (),
        ahead_of: LaneKey | None = None,
    ) -> Near:
        """Return the `most` oldest lanes of each class and those of the keys `besides`, without resting ones.

        Keys found in one class are included in the lower ones too, since their turn may go on there.

        With `ahead_of`, a lane, all further lanes that may go before it are summed up as one lane of OTHERS per class.
        """
        found = Near([], {})
        keys = list(besides)
        with self._lock:
            for priority, lanes in enumerate(self._classes):
                taken = lanes.first(most, lanes.ages, resting)
                behind = lanes.place(lanes.heads[taken[-1]]) + 1 if taken else 0  # the first lane that is not near
                whole = ahead_of is not None and priority <= ahead_of[1]
                if whole:
                    taken += lanes.first(2, reversed(lanes.ages), resting)  # one of them goes last in this class
                keys += taken  # the key that goes last continues in the next class
                near = {key: head for key in keys if key not in resting and (head := lanes.heads.get(key))}
                found.lanes.extend((head, lanes.size(head)) for head in near.values())
                if ahead_of is not None and whole:
                    own = lanes.heads.get(ahead_of[0]) if priority == ahead_of[1] else None
                    count, size = lanes.between(behind, own, {*near, *resting})
                    if count:
                        since, id, _ = lanes.ages[behind]
                        found.lanes.append((Head(OTHERS, priority, since, id), size))
                        found.others[priority] = count
        return found

    # The changes, all made on the queue's thread.

    def load(self, store: Writer) -> None:
        """Fill an empty board from the store."""
        for one in store.lines():
            line = one.key, int(one.priority), one.caller
            self._put(line, next(iter(store.heads(*line, limit=1)), None), one.ready, one.parked)
        self.commit()

    def set(self, line: Line, head: Head | None) -> None:
        """Take over the numbers of a line, and its oldest claimable job, as another node has left them."""
        self._next.pop(key := (line.key, int(line.priority), line.caller), None)
        self._put(key, head, line.ready, line.parked)

    def enter(self, jobs: Iterable[Job]) -> None:
        """Add jobs that begin to wait."""
        parked: Counter[LineKey] = Counter()
        ready: dict[LineKey, list[Job]] = {}
        for job in jobs:
            if job.ready_at is None:
                ready.setdefault(line_of(job), []).append(job)
            else:
                parked[line_of(job)] += 1
        for line, some in ready.items():
            first = min(some, key=lambda job: (job.since, job.id))
            self._enter(line, Head(first.key, int(first.priority), first.since, first.id, line[2]), len(some))
        for line, count in parked.items():
            head, size, before = self._found(line)
            self._put(line, head, size, before + count)

    def leave(self, job: Job) -> None:
        """Remove a job that waits no more; it is given as it waited."""
        self.remove(line_of(job), job.id, parked=job.ready_at is not None)

    def remove(self, line: LineKey, job_id: str, *, parked: bool = False) -> None:
        """Remove a job from a line."""
        head, size, later = self._found(line)
        if parked:
            self._put(line, head, size, later - 1)
            return
        self._put(line, head, size - 1, later) if size > 1 else self._put(line, None, 0, later)
        behind = self._next.get(line)
        if size <= 1 or head is None:
            self._next.pop(line, None)
        elif head.id == job_id and behind:
            self._put(line, behind.popleft(), size - 1, later)
        elif head.id == job_id:
            self.headless.add(line)
        elif behind and any(one.id == job_id for one in behind):
            del self._next[line]

    def woke(self, jobs: Iterable[Head]) -> None:
        """Count jobs as claimable whose start time has come."""
        for head in jobs:
            line = head.key, head.priority, head.caller
            first, size, parked = self._found(line)
            self._put(line, first, size, parked - 1)
            self._enter(line, head, 1)
            self._next.pop(line, None)
            self.headless.add(line)  # only the store knows a head that is fit to be one

    def refresh(self, store: Writer) -> None:
        """Read the heads that are not known."""
        while self.headless:
            line = self.headless.pop()
            _, size, parked = self._found(line)
            heads = store.heads(*line, limit=AHEAD if line in self._next else 1)
            self._put(line, heads[0] if heads else None, size, parked)
            self._next[line] = deque(heads[1:])

    def look_ahead(self, store: Writer, head: Head, most: int) -> None:
        """Read a line's head with up to `most` jobs together, unless those behind it are known."""
        line = head.key, head.priority, head.caller
        if self._next.get(line) or self._found(line)[1] <= 1:
            return
        heads = store.heads(*line, limit=AHEAD if line in self._next else min(most, AHEAD))
        if heads and heads[0].id == head.id:
            self._next[line] = deque(heads[1:])

    def changes(self) -> list[Line]:
        """Return the lines changed by the transaction, with their numbers of jobs.

        One that has as many jobs as before, and another oldest one, is news to other nodes.
        """
        return [self._line(line) for line, before in self._before.items() if self._found(line) != before]

    def commit(self) -> None:
        """Accept the changes: the transaction is on disk."""
        self._before.clear()

    def roll_back(self) -> None:
        """Undo the changes since the last commit."""
        for line, (head, size, parked) in list(self._before.items()):
            self._put(line, head, size, parked)
        self._before.clear()
        self.headless.clear()
        self._next.clear()

    def _enter(self, line: LineKey, head: Head, count: int) -> None:
        first, size, parked = self._found(line)
        behind = self._next.get(line)
        if behind and (head.since, head.id) < (behind[-1].since, behind[-1].id):
            del self._next[line]
        if first is None or (head.since, head.id) < (first.since, first.id):
            first = head
            self._next.pop(line, None)
        self._put(line, first, size + count, parked)

    def _found(self, line: LineKey) -> Numbers:
        lines = self._lines.get(line[:2])
        return lines.of(line[2]) if lines else NONE

    def _put(self, line: LineKey, head: Head | None, size: int, parked: int) -> None:
        """Set a line's head and numbers; another program may have corrupted the numbers."""
        size, parked = max(1, size) if head else 0, max(0, parked)
        key, priority, caller = line
        before = self._found(line)
        self._before.setdefault(line, before)
        more = size + parked - before[1] - before[2]
        with self._lock:
            self.version += 1
            self.ready += size - before[1]
            self.ready_of[caller[0], priority] += size - before[1]
            self.waiting += more
            if more:
                self.by_owner[caller[0]] += more
                self.key_changes += key not in self._by_key
                self._by_key[key] += more
                if not self._by_key[key]:
                    del self._by_key[key]
                    self.key_changes += 1
            self.lines += (size + parked > 0) - (before[1] + before[2] > 0)
            lines = self._lines.get((key, priority))
            if lines is None:
                lines = self._lines[key, priority] = Lines()
            lines.put(caller, (head, size, parked))
            if not lines:
                del self._lines[key, priority]
            self._classes[priority].put(key, lines.oldest(), self.size(key, priority) + size - before[1])

    def _line(self, line: LineKey) -> Line:
        key, priority, caller = line
        _, ready, parked = self._found(line)
        return Line(key=key, priority=Priority(priority), caller=caller, ready=ready, parked=parked)


def line_of(job: Job) -> LineKey:
    """Return the line in which a job waits."""
    return job.key, int(job.priority), (job.owner, job.caller)
