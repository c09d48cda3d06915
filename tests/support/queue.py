"""Command handlers with a clock that a test sets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from foreman.domain.errors import ForemanError, StoreAway
from foreman.domain.job import Artifact, Instant, Job
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.choose import OrderRules, Spent
from foreman.domain.scheduling.forecast import Kind
from foreman.queue.commands import Accepted, Answered, Claim, Commit, Finished, Message, Submit, Withdraw, Work
from foreman.queue.handlers.dispatch import Answer, CommandHandlers, More
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.handlers.open_claims import Lend
from foreman.queue.outlook import Outlook
from foreman.store.protocol import Writer
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import EVEN, START, draft
from tests.support.sites import only_site

ANSWER = Answered([Artifact(name="completion", content_type="application/json", data=b'{"a":1}')])
LEDGER = "ledger of tests"  # the attribute of a store


class QueueHarness:
    """Command handlers with a clock that a test sets."""

    def __init__(self, store: SqliteWriter, *, order: OrderRules | None = None, **rules: Any) -> None:
        self.now = START
        self.store = store
        given: dict[str, Any] = {"backoff": Backoff(2, 300), "job_ttl": 100} | rules
        self.rules = JobRules(**given)
        self.handlers = CommandHandlers(
            store, self.rules, only_site(order), clock=lambda: self.now, chance=lambda: EVEN
        )
        self.commit = Commit([])

    def say(self, message: Message[Any]) -> Any:
        """Apply a message and return its answer. Raise the error it was answered with."""
        answer = self.apply(message).get(id(message))
        if isinstance(answer, ForemanError):
            raise answer
        return answer

    def apply(self, *batch: Message[Any]) -> dict[int, Any]:
        """Apply messages together, and return the answers by the id of the message."""
        answers, self.commit = self.handlers.apply(batch)
        return {id(message): answer for message, answer in answers}

    def answers(self, *batch: Message[Any]) -> list[Any]:
        """Apply messages together, and return their answers in order; None without one."""
        answers = self.apply(*batch)
        return [answers.get(id(message)) for message in batch]

    def submit(self, number: int = 1, **fields: Any) -> Accepted:
        accepted: Accepted = self.say(Submit(draft=draft(number, **fields)))
        return accepted

    def claim(self, *, loaded: str = "", spent: Spent | None = None) -> Work | None:
        """Claim a job; None, with the claim withdrawn, when none may run now."""
        work: Work | None = self.say(Claim(loaded=loaded.__eq__, spent=spent))
        if work is None:
            self.handlers.apply([Withdraw()])
        return work

    def claimed(self) -> Job:
        work = self.claim()
        assert work is not None
        return work.job

    def finish(self, job: Job, outcome: Answered | ForemanError = ANSWER) -> None:
        self.say(Finished(job_id=job.id, fence=job.fence, outcome=outcome))

    def job(self, number: int = 1) -> Job:
        job = self.store.job(f"{number:03}")
        assert job is not None
        return job

    def steps(self) -> list[tuple[str, str]]:
        return [(event.previous or "", event.state) for event in self.commit.events]


class Lender(QueueHarness):
    """Handlers whose store may fail to commit."""

    def __init__(self, store: SqliteWriter) -> None:
        super().__init__(store)
        self.lent: list[tuple[Claim, Work | None]] = []
        self.errors: list[Exception] = []  # of the next commits
        self._transaction = store.transaction
        store.transaction = self._failing  # type: ignore[method-assign]

    @contextmanager
    def _failing(self, now: Instant = 0.0) -> Iterator[Instant]:
        with self._transaction(now):
            yield now
            if self.errors:
                raise self.errors.pop(0)

    def take(
        self, *batch: Message[Any], more: More | None = None
    ) -> tuple[list[tuple[Claim, Work | None]], list[Answer]]:
        """Apply messages together; return what was lent or taken back, and the answers."""
        self.lent = []
        answers, self.commit = self.handlers.apply(batch, self._lend, more)
        return self.lent, answers

    def _lend(self, claims: Sequence[tuple[Claim, Work | None]]) -> None:
        self.lent += claims


def ready() -> Claim:
    """A claim of a slot that has everything loaded."""
    return Claim(loaded=lambda key: True)


def learn(
    outlook: Outlook, key: str, *, seconds: float, load: float | None = None, tokens: int = 0, most: int | None = None
) -> None:
    """Have a job of the key, whose answer had at most so many tokens, end well."""
    kind = Kind(key, most_tokens=most)
    outlook.forecasts = outlook.forecasts.learned(kind, "", seconds=seconds, tokens=tokens)
    if load is not None:
        outlook.load_times = outlook.load_times.learned("", key, load)


def ledger_of(store: Writer) -> Ledger:
    """The one ledger through which a test without handlers writes to the store."""
    held = vars(store)
    if LEDGER not in held:
        held[LEDGER] = Ledger(store, JobRules(), only_site(), lambda: EVEN)
    found: Ledger = held[LEDGER]
    return found


@contextmanager
def writing(store: Writer, now: float = START) -> Iterator[Ledger]:
    """A transaction in which a test changes jobs as handlers do."""
    ledger = ledger_of(store)
    ledger.begin(now)
    try:
        with store.transaction():
            yield ledger
            ledger.write()
    except BaseException:
        ledger.roll_back()
        raise
    ledger.commit()


def prune_now(store: SqliteWriter, ids: Sequence[str]) -> None:
    """These jobs are past their time, and pruned."""
    with store.transaction():
        store._db.executemany("UPDATE jobs SET expires_at = 1 WHERE id = ?", [(job_id,) for job_id in ids])
        assert sorted(store.prune(1, len(ids))) == sorted(ids)


class HangingHandlers(CommandHandlers):
    """Hangs in each batch until told to go on, as with a silent server; `loses` it then, if that is set."""

    loses = False

    def __init__(self, store: SqliteWriter) -> None:
        super().__init__(store, JobRules(), only_site(), clock=time.time)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def apply(
        self, batch: Sequence[Message[Any]], lend: Lend | None = None, more: More | None = None
    ) -> tuple[list[Answer], Commit]:
        self.begun.set()
        assert self.go_on.wait(60)
        if self.loses:
            return [(message, StoreAway("the commit is not stored")) for message in batch], Commit([])
        return super().apply(batch, lend, more)
