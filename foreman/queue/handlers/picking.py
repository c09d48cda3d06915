"""The choice of a job within the lane that a claim has chosen: which caller is next, and which of the caller's jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import CallerKey, Job, LoadKey, Priority, State
from foreman.domain.scheduling.choose import Head
from foreman.domain.scheduling.forecast import Kind
from foreman.domain.scheduling.prefixes import PrefixTurn, companion
from foreman.queue.candidates import Candidates
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.sites import Site

LOOK = 16  # jobs of a caller in a lane that are looked at for one that may start
LEAST = 0.01  # seconds that a job is taken to run
WORTH = 1.0  # seconds of the usual job, from which on short ones may go first
OVERTAKEN = 60.0  # seconds for which short ones may go before an older one


class Picked(msgspec.Struct, frozen=True):
    """The job that a claim gets."""

    job: Job
    payload: bytes
    turn: PrefixTurn | None  # of prompts that begin alike, as this job leaves it


class Picking:
    """The choice of one claim's job."""

    def __init__(self, ledger: Ledger, site: Site, candidates: Candidates) -> None:
        self._ledger = ledger
        self._candidates = candidates
        self._outlook = ledger.outlook
        self._state = ledger.outlook.state_of(site.name)
        self._rules = ledger.outlook.rules
        self._target = site.name
        self._together = site.slots > 1 and self._rules.prefix_turns
        self._waits = False  # True when the beginning of the turn's prompts is being computed

    def pick(self, lane: Head) -> Picked | None:
        """Return the job of a lane that runs next, or None if none of its first ones may start now.

        Raises:
            JobUnreadable: The next one cannot be read.
        """
        waiting = self._outlook.board.callers(lane.key, lane.priority)
        if full := self._candidates.full:
            waiting = {caller: line for caller, line in waiting.items() if caller[0] not in full}
        shares = self._state.standing.shares_of(lane.key, lane.priority)
        quantum, turn = self._rules.fairness.quantum, self._goes_on(lane.key)
        last = shares.last
        if turn and last in waiting and len(waiting) > 1:
            sizes = {caller: size for caller, (_, size) in waiting.items()}
            seconds = self._outlook.expected(Kind(lane.key, last, turn.path), self._target)
            goes_on = shares.may_go_on(last, sizes, seconds, quantum)
            if goes_on and (found := self._companion(lane, last, waiting[last][0], turn)):
                return found
        usual = self._outlook.usual(lane.key)
        due = turn is None and len(waiting) > 1 and shares.is_due(self._ledger.now, usual)
        if due and (found := self._oldest(lane)):
            return found
        while waiting:
            caller = shares.next(waiting) if len(waiting) > 1 else next(iter(waiting))
            if found := self._of(lane, caller, waiting[caller][0], turn):
                return found
            del waiting[caller]
        return None

    def _goes_on(self, key: LoadKey) -> PrefixTurn | None:
        """Return the turn of prompts that begin alike, or None when the oldest job is to begin one."""
        turn = self._state.standing.turn(key)
        if turn is None or turn.prefix is None or not self._rules.prefix_turns or not self._state.prompts.helps(key):
            return None
        return None if turn.prefix.is_over(self._ledger.now, self._outlook.usual(key)) else turn.prefix

    def _of(self, lane: Head, caller: CallerKey, head: Head, turn: PrefixTurn | None) -> Picked | None:
        """Return the caller's job that goes on with the turn, else the oldest one that may start; it begins a turn."""
        if found := self._companion(lane, caller, head, turn):
            return found
        left: dict[str, tuple[Job, Site]] = {}
        self._look_ahead(head)
        first = self._first_answered(lane, caller, head)
        job, payload = self._read(first)
        if not self._may_start(job, left):
            line = self._ledger.store.line(lane.key, lane.priority, caller, skip=0, limit=LOOK + 1)
            further = (job for job in line if job.id != first)
            other = next((job for job in further if self._may_start(job, left)), None) or self._at_any_cost(left)
            if other is None:
                return None
            job, payload = self._read(other.id)
        if self._waits:  # the turn goes on once the beginning of its prompts is computed
            return Picked(job, payload, turn)
        return Picked(job, payload, PrefixTurn(job.prefix, self._ledger.now) if job.prefix else None)

    def _oldest(self, lane: Head) -> Picked | None:
        """Return the lane's oldest job, which begins a turn, or None if it may not start."""
        job, payload = self._read(lane.id)
        turn = PrefixTurn(job.prefix, self._ledger.now) if job.prefix else None
        return Picked(job, payload, turn) if self._may_start(job, {}) else None

    def _first_answered(self, lane: Head, caller: CallerKey, head: Head) -> str:
        """Return the id of the caller's oldest job, or of an urgent one with a higher response ratio.

        That is the time from its submission to its expected end, divided by the time that it runs: it grows the faster
        the shorter a job is.
        """
        now = self._ledger.now
        overtakes = lane.priority == Priority.HIGH and now - head.since < OVERTAKEN
        if not overtakes or self._outlook.usual(lane.key) < WORTH:
            return head.id
        jobs = self._ledger.store.line(lane.key, lane.priority, caller, skip=0, limit=LOOK)

        def ratio(job: Job) -> float:
            return (now - job.since) / max(self._outlook.expected(Kind.of(job), self._target), LEAST)

        return max(jobs, key=ratio).id if len(jobs) > 1 else head.id

    def _companion(self, lane: Head, caller: CallerKey, head: Head, turn: PrefixTurn | None) -> Picked | None:
        """Return the caller's job that begins most like the one before, or None; `head` is the oldest one."""
        if turn is None:
            return None
        self._look_ahead(head)
        if (first := self._ledger.recent(head.id)) and first.prefix == turn.path:
            next_id = head.id  # nothing is more alike, and nothing older
        elif found := companion(turn, self._ledger.store.neighbours(lane.key, lane.priority, caller, turn.path)):
            next_id = found.id
        else:
            return None
        job, payload = self._read(next_id)
        return Picked(job, payload, replace(turn, path=job.prefix)) if self._may_start(job, {}) else None

    def _may_start(self, job: Job, left: dict[str, tuple[Job, Site]]) -> bool:
        """Return True unless another target should have the job, or its prompt's beginning is being computed.

        A job whose beginning another target has computed is added to `left`.
        """
        if self._together and self._state.prompts.must_wait(job):
            self._waits = True
            return False
        if not self._candidates.suits(job):
            return False
        if home := self._candidates.at_home(job):
            left[job.id] = job, home
        return home is None

    def _at_any_cost(self, left: Mapping[str, tuple[Job, Site]]) -> Job | None:
        """Return the first of the jobs left to other targets that costs more to leave than to run here, or None."""
        for job, home in left.values():
            wait = self._candidates.wait_for(job, home)
            if not wait:
                return job
            ledger = self._ledger
            ledger.looks_again = min(ledger.looks_again or math.inf, ledger.now + wait)
        return None

    def _look_ahead(self, head: Head) -> None:
        """Have a caller's oldest jobs read together, as many as claims wait: the store may be a round trip away."""
        ledger = self._ledger
        if ledger.recent(head.id) is None:
            ledger.outlook.board.look_ahead(ledger.store, head, len(ledger.claims.waiting) + 1)

    def _read(self, job_id: str) -> tuple[Job, bytes]:
        found = self._ledger.claimable(job_id)
        if found is None:
            raise JobUnreadable(job_id, "its request is missing")
        if found[0].state is not State.QUEUED:  # the board has it as queued
            raise JobUnreadable(job_id, f"its state became {found[0].state} while it waited")
        return found
