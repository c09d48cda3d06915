"""The dispatch of commands to their handlers, one transaction per batch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import structlog
from msgspec.structs import replace

from foreman.domain.errors import ForemanError, StoreAway, StoreBroken, StoreBusy, StoreRejected, StoreUnavailable
from foreman.domain.job import Instant, JobEvent, Priority
from foreman.queue.commands import (
    Accepted,
    Began,
    Checkpoint,
    Claim,
    Commit,
    Finished,
    Look,
    Message,
    Withdraw,
)
from foreman.queue.handlers import claims, endpoints, giving_way, maintenance, nodes
from foreman.queue.handlers.following import follow, hear, recall
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.handlers.open_claims import Lend
from foreman.queue.handlers.quick_jobs import QuickJobs
from foreman.queue.handlers.table import HANDLERS
from foreman.queue.outlook import Outlook
from foreman.store.protocol import Writer

log = structlog.get_logger()

Answer: TypeAlias = tuple[Message[Any], object]
More: TypeAlias = Callable[[float], Sequence[Message[Any]]]  # waits so many seconds for further messages

BUSY_PAUSE = 0.5  # seconds until writes that met another program's lock, or no server, are retried


NOTHING_TOLD: Mapping[str, str] = MappingProxyType({})


class CommandHandlers:
    """The handlers of all commands over one store; synchronous, on the queue actor's thread."""

    def __init__(
        self,
        store: Writer,
        rules: JobRules,
        outlook: Outlook,
        *,
        clock: Callable[[], Instant],
        chance: Callable[[], float] = random.random,
        target: str = "",
        node: str = "",
    ) -> None:
        """Load what is cached of the store.

        Args:
            store: The store.
            rules: The settings for jobs.
            outlook: What claims are decided by.
            clock: The node's clock.
            chance: Returns numbers from 0 to 1.
            target: The target's name in the usage figures.
            node: The node's name among those that have the store; empty where it is alone.
        """
        self.store = store
        self.outlook = outlook
        self._node_clock = clock
        self._ahead = 0.0  # seconds by which the store's clock is ahead of the node's
        self._due = store.next_due()  # when jobs next change by themselves
        self._looks_at: Instant | None = None  # when to look at what other nodes have committed
        self._stale = False  # the caches may differ from the store, which could not be read
        self._ledger = Ledger(store, rules, self.outlook, chance, target, node)
        if known := store.nodes():
            self._ledger.now = clock()
            hear(self._ledger, known)
        self._owed: list[Message[Any]] = []  # worker reports not stored yet; their senders do not repeat them
        self._failed = False  # the last commit with events did: nothing is lent, since the next one may too

    def clock(self) -> Instant:
        """Return the time by the store's clock. Safe in any thread."""
        return self._node_clock() + self._ahead

    @property
    def coordinates(self) -> bool:
        """Return True while this node is the one that prunes and sends webhooks. Safe in any thread."""
        return self.store.coordinator == self._ledger.node

    @property
    def next_due(self) -> Instant | None:
        """Return when there next is work without a message, or None."""
        return min((at for at in (self._due, self._looks_at) if at is not None), default=None)

    def change(self, rules: JobRules) -> None:
        """Follow these rules from the next command on. Call it in any thread."""
        self._ledger.rules = rules

    def apply(
        self, batch: Sequence[Message[Any]], lend: Lend | None = None, more: More | None = None
    ) -> tuple[list[Answer], Commit]:
        """Apply messages in one transaction and return their answers; they are on disk when this returns.

        A claim that finds no job has no answer yet; the answers hold those of earlier claims that were given a job.

        A message answered with a ForemanError wrote nothing. When the disk is full, or the store rejects a message,
        each one gets a transaction of its own, so that one does not fail the others. While another program locks the
        store, or its server is away, none is retried, since each retry would wait. Unstored reports of workers are
        kept, and claims are withdrawn all the same: a slot must be able to end while nothing can be stored.

        `lend` is called with claims whose work may begin, when nothing but the commit is left to do; if that fails, it
        is called with them again, and they are answered for good. `more` is asked for further messages while the
        transaction waits for the ends of quick jobs.

        Raises:
            StoreBroken: The store cannot go on.
        """
        if not self._owed and not self._is_due() and all(isinstance(message, Look) for message in batch):
            answers, commit = self._look()
            return [*answers, *((message, None) for message in batch)], commit
        together = [*self._owed, *batch]  # and what `more` returns
        self._owed = []
        try:
            answers, commit = self._in_one(together, lend, more)
        except (StoreBusy, StoreAway) as busy:
            answers = [answer for message in _to_store(together) for answer in self._unstored(message, busy)]
            commit = self._commit([])
            self._due = self.clock() + BUSY_PAUSE
            self._looks_at = self._looks_at and self._due  # a look that is overdue would have it tried again at once
        except (StoreUnavailable, StoreRejected) as error:
            tried = [self._in_one_or_error(message) for message in _to_store(together)]
            answers = [answer for some, _ in tried for answer in some]
            events = [event for _, done in tried for event in done.events]
            others = [event for _, done in tried for event in done.others]
            if isinstance(error, StoreUnavailable):
                self._due = self.clock() + maintenance.FULL_PAUSE
            told = {job_id: urgent for _, done in tried for job_id, urgent in done.giving_way.items()}
            missed = [done.missed for _, done in tried if done.missed is not None]
            gone = {job_id: seq for some in missed for job_id, seq in some.items()} if missed else None
            commit = Commit(events, any(done.posted for _, done in tried), told, others, missed=gone)
        alone = [message for message in together if isinstance(message, Checkpoint)]
        answers += [(message, maintenance.checkpoint(self._ledger)) for message in alone]
        return answers, commit

    @property
    def owes(self) -> bool:
        """Return True while reports of workers are still to be stored."""
        return bool(self._owed)

    def _is_due(self) -> bool:
        return self._due is not None and self._due <= self.clock()

    def _look(self) -> tuple[list[Answer], Commit]:
        """Follow the other nodes; with claims that wait, in a transaction that may give them jobs."""
        try:
            self._follow()
            board = self.outlook.board
            if self._ledger.followed and (
                board.ready_in(Priority.HIGH) or (board.ready and self._ledger.claims.waiting)
            ):
                return self._in_one([])
        except (StoreUnavailable, StoreRejected) as error:
            log.debug("cannot follow the other nodes", why=str(error))
        return [], self._commit([])

    def _follow(self) -> None:
        """Bring the caches up to date with what other nodes have committed."""
        if self.store.looks_every is not None:
            self._looks_at = self.clock() + self.store.looks_every
        if news := self.store.news():
            follow(self._ledger, news)

    def _commit(
        self, events: Sequence[JobEvent], posted: bool = False, told: Mapping[str, str] = NOTHING_TOLD
    ) -> Commit:
        """Return a commit of these events, with those of other nodes that are not reported yet."""
        others, due, missed = self._ledger.report_followed()
        may_claim = nodes.may_claim(self._ledger, events)
        return Commit(events, posted or due, told, others, may_claim, missed)

    def _in_one(
        self, batch: list[Message[Any]], lend: Lend | None = None, more: More | None = None
    ) -> tuple[list[Answer], Commit]:
        ledger, outlook = self._ledger, self.outlook
        before, at = outlook.states, self._node_clock()
        ledger.begin(at)
        try:
            with self.store.transaction(at) as ledger.now:
                self._ahead = ledger.now - at
                if self._stale:
                    recall(ledger)
                    self._stale = False
                self._follow()
                again = self._keep_time()
                answers = self._answers(batch)
                if lend and more and self._may_wait():
                    answers += self._quick_ends(batch, lend, more)
                giving_way.make_room(ledger)
                answers = list(_answered(answers, ledger))
                due = maintenance.next_due(ledger)
                self._due = None if due is None else max(due, again)
                endpoints.post_ended(ledger)
                ledger.write()
                if lend and not self._failed:
                    ledger.claims.lend(ledger.claims.lendable(ledger.events), lend)
        except BaseException as error:
            outlook.states, self._failed = before, True
            ledger.roll_back()
            for claim, _ in ledger.claims.lent:
                claim.reply.undone = True
            if lend and ledger.claims.lent:
                lend([(claim, None) for claim, _ in ledger.claims.lent])
            if isinstance(error, StoreAway):
                self._stale = True
            elif isinstance(error, (StoreUnavailable, StoreRejected)):  # the store can still be read
                ledger.recall()
            raise
        ledger.commit()
        self._failed = self._failed and not ledger.events
        posted = ledger.redelivers or any(event.posted for event in ledger.events)
        return [*answers, *ledger.claims.answered], self._commit(ledger.events, posted, ledger.told_to_give_way)

    def _answers(self, messages: Sequence[Message[Any]]) -> list[Answer]:
        answers = [(message, self._answer(message)) for message in _to_store(messages)]
        claims.serve(self._ledger)
        return answers

    def _may_wait(self) -> bool:
        """Return True unless the last commit has failed, or other nodes might wait for this one."""
        return not self._failed and self.store.looks_every is None

    def _quick_ends(self, batch: list[Message[Any]], lend: Lend, more: More) -> list[Answer]:
        """Apply what comes until the quick jobs of the batch have ended, and return the answers."""
        ledger, quick, answers = self._ledger, QuickJobs(self._ledger.claims, lend), list[Answer]()
        fresh: Sequence[Message[Any]] = batch
        while wait := quick.after(fresh, ledger.events):
            fresh = more(wait)
            batch += fresh
            ledger.now = self.clock()
            answers += self._answers(fresh)
        return answers

    def _in_one_or_error(self, message: Message[Any]) -> tuple[list[Answer], Commit]:
        try:
            return self._in_one([message])
        except (StoreUnavailable, StoreRejected) as error:
            return self._unstored(message, error), self._commit([])

    def _unstored(self, message: Message[Any], error: ForemanError) -> list[Answer]:
        """Return the answers to a message whose transaction failed; keep what its sender does not wait for."""
        if isinstance(message, Withdraw):
            return [*((claim, None) for claim in self._ledger.claims.withdraw(message.target)), (message, None)]
        if isinstance(message, (Began, Finished)) and isinstance(error, StoreUnavailable):
            self._owed.append(message)
        return [(message, error)]

    def _answer(self, message: Message[Any]) -> object:
        try:
            return HANDLERS[type(message)](self._ledger, message)
        except (StoreBroken, StoreUnavailable, StoreRejected):
            raise
        except ForemanError as error:  # every handler decides before it writes, so there is nothing to undo
            return error

    def _keep_time(self) -> Instant:
        """Do the work that is due; return the time before which a retry is useless."""
        maintenance.end_rests(self._ledger)
        if self._due is None or self._due > self._ledger.now:
            return -math.inf
        return maintenance.wake_and_expire(self._ledger)


def _to_store(messages: Sequence[Message[Any]]) -> list[Message[Any]]:
    """Return the messages that are applied in a transaction."""
    return [message for message in messages if not isinstance(message, Checkpoint)]


def _answered(answers: Sequence[Answer], ledger: Ledger) -> Iterator[Answer]:
    """Yield the answers without those of claims, which `OpenClaims.answered` has; complete those about new jobs."""
    claimed = {work.job.id for _, work in ledger.claims.answered if work}
    for message, answer in answers:
        if isinstance(answer, Accepted) and answer.job.id in claimed:
            yield message, Accepted(answer.job, 1, answer.seconds, claimed=True)
        elif isinstance(answer, Accepted) and answer.position is None:
            job, now, outlook = answer.job, ledger.now, ledger.outlook
            expected = outlook.of(ledger.store, job, now, up=not outlook.paused)
            yield message, replace(answer, position=expected.position, late=expected.late(job, now))
        elif answer is not None or not isinstance(message, Claim):
            yield message, answer
