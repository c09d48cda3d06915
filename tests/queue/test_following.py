"""Nodes that share a store: each decides by what the others have committed, and reports it in order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from foreman.domain.errors import ForemanError, QueueFull, StoreAway, TargetLost
from foreman.domain.job import RUNNING, Job, JobEvent, State, node_of
from foreman.domain.nodes import NodeState, TargetReport
from foreman.domain.quotas import Quota
from foreman.domain.retry import Sent
from foreman.queue.commands import (
    Beat,
    Cancel,
    Claim,
    Delete,
    DeliveryEnded,
    Finished,
    Message,
    Pause,
    Prune,
    Rescue,
    Resume,
    Submit,
    Withdraw,
    Work,
)
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import EVEN, START, draft
from tests.support.queue import ANSWER
from tests.support.shared import NodeStore, Roll
from tests.support.sites import OnlySite

RULES = JobRules(job_ttl=100, max_queue=8)


class Site(OnlySite):
    """The one target of a node."""

    def __init__(self, node: str) -> None:
        super().__init__(2)
        self.name = f"t@{node}"


class Node:
    """The handlers of one node."""

    def __init__(
        self,
        store: SqliteWriter,
        name: str,
        roll: Roll,
        *,
        now: float = START,
        ahead: float = 0.0,
        rules: JobRules = RULES,
    ) -> None:
        self.name = name
        self.now = now
        self.roll = roll
        self.store = NodeStore(store, name, roll, now, ahead=ahead)
        self.outlook = Outlook()
        self.outlook.own_sites = {f"t@{name}": Site(name)}
        self.handlers = CommandHandlers(
            self.store, rules, self.outlook, clock=lambda: self.now, chance=lambda: EVEN, node=name
        )
        self.heard: list[JobEvent] = []  # of all nodes
        self.own: list[JobEvent] = []
        self.given: list[Work] = []  # by claims that waited

    def say(self, message: Message[Any]) -> Any:
        """Apply a message and return its answer. Raise the error it was answered with."""
        answers = self.apply(message)
        if isinstance(answers.get(id(message)), ForemanError):
            raise answers[id(message)]
        return answers.get(id(message))

    def apply(self, *batch: Message[Any]) -> dict[int, Any]:
        answers, commit = self.handlers.apply(batch)
        self.heard += commit.all_events
        self.own += commit.events
        self.given += [one for asked, one in answers if isinstance(asked, Claim) and isinstance(one, Work)]
        return {id(message): answer for message, answer in answers}

    def claim(self) -> Work | None:
        work: Work | None = self.say(Claim(target=f"t@{self.name}", loaded=lambda key: True))
        if work is None:
            self.apply(Withdraw(target=f"t@{self.name}"))
        return work

    def beat(self, *loaded: str, models: str = "m", state: NodeState = NodeState.UP, slots: int = 2) -> None:
        """Tell the others how this node and its target are."""
        report = TargetReport(
            name=f"t@{self.name}",
            slots=slots,
            open=True,
            models_known=True,
            models=frozenset(models),
            endpoints=frozenset({"/api/chat"}),
            loaded=loaded,
        )
        self.apply(Beat(targets=[report], state=state))

    def look(self) -> None:
        """Look at what the others have committed, as it does ten times a second."""
        self.apply()

    def caches(self) -> tuple[Any, ...]:
        ledger, board = self.handlers._ledger, self.outlook.board
        lines = sorted(((*line_of(one), one.ready, one.parked) for one in board.all_lines()), key=str)
        return lines, sorted(board.heads(), key=str), ledger.running, self.outlook.paused, ledger._newest


def line_of(line: Any) -> tuple[Any, ...]:
    return line.key, line.priority, line.caller


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield store
    store.close()


@pytest.fixture
def roll() -> Roll:
    return Roll()


@pytest.fixture
def nodes(store: SqliteWriter, roll: Roll) -> tuple[Node, Node]:
    return Node(store, "a", roll), Node(store, "b", roll)


def submitted(node: Node, number: int = 1, **fields: Any) -> Job:
    job: Job = node.say(Submit(draft=draft(number, **fields))).job
    return job


def back(node: Node) -> None:
    """The server can be reached again."""
    node.store.away = False
    node.now += 10
    node.look()


def test_a_job_submitted_at_one_node_runs_at_another(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a)
    work = b.claim()
    assert work is not None
    assert (work.job.id, work.job.target) == (job.id, "t@b")
    assert a.claim() is None
    b.say(Finished(job_id=job.id, fence=work.job.fence, outcome=ANSWER))
    a.look()
    assert [event.state for event in a.heard] == ["queued", "loading", "working", "done"]
    assert [event.state for event in a.own] == ["queued"]
    assert a.heard == b.heard


def test_a_claim_that_waits_gets_a_job_submitted_elsewhere(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.apply(Claim(target="t@b"))
    job = submitted(a)
    b.look()
    assert [work.job.id for work in b.given] == [job.id]


def test_the_limits_count_the_jobs_of_all_nodes(store: SqliteWriter, roll: Roll) -> None:
    rules = JobRules(max_queue=2, quotas={"": Quota(waiting=2)})
    a, b = (Node(store, name, roll, rules=rules) for name in "ab")
    submitted(a, 1)
    submitted(b, 2)
    with pytest.raises(ForemanError):
        submitted(a, 3)
    a.say(Cancel(job_id="001"))
    submitted(b, 4)


def test_a_full_queue_is_full_for_all_nodes(store: SqliteWriter, roll: Roll) -> None:
    a, b = (Node(store, name, roll, rules=JobRules(max_queue=1)) for name in "ab")
    submitted(a, 1)
    with pytest.raises(QueueFull):
        submitted(b, 2)


def test_a_key_of_idempotency_is_known_at_all_nodes(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a, 1, idempotency_key="k", fingerprints=(b"f",))
    assert submitted(b, 2, idempotency_key="k", fingerprints=(b"f",)).id == job.id


def test_a_pause_holds_at_all_nodes(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    submitted(a)
    a.say(Pause())
    assert b.claim() is None
    assert b.outlook.paused
    b.say(Resume())
    assert a.claim() is not None


def test_a_cancel_elsewhere_reaches_the_node_that_runs_the_job(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a)
    work = b.claim()
    a.say(Cancel(job_id=job.id))
    assert work is not None
    b.look()
    assert b.heard[-1].state is State.CANCELLED
    b.say(Finished(job_id=job.id, fence=work.job.fence, outcome=ANSWER))
    assert [event.state for event in b.own] == ["loading", "working"]  # the answer came too late


def test_a_node_rescues_its_own_jobs_alone(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    submitted(a, 1)
    submitted(a, 2)
    mine, its = a.claim(), b.claim()
    assert mine is not None
    assert its is not None
    assert a.say(Rescue(target="t@a")) == 1
    states = {job.id: job.state for job in a.handlers.store.running()}
    assert states == {its.job.id: State.WORKING}


def test_times_are_those_of_the_server(store: SqliteWriter, roll: Roll) -> None:
    """A node whose own clock is an hour behind: its jobs are as old as those of others, and wake in time."""
    a, b = Node(store, "a", roll), Node(store, "b", roll, now=START - 3600, ahead=3600)
    assert submitted(a, 1).created_at == submitted(b, 2).created_at == START
    assert b.handlers.clock() == START
    submitted(a, 3, not_before=START + 10)
    b.look()
    assert b.handlers.next_due is not None
    a.now, b.now = START + 10, START - 3600 + 10
    taken = {work.job.id for _ in range(3) if (work := b.claim())}
    assert taken == {"001", "002", "003"}


def test_nothing_is_lost_or_doubled_when_the_answer_to_a_commit_is(nodes: tuple[Node, Node]) -> None:
    """The submission is refused with the word that it may be stored; once the server is back, it is, once."""
    a, b = nodes
    a.store.cut = True
    with pytest.raises(StoreAway):
        submitted(a, 1)
    with pytest.raises(StoreAway):
        submitted(a, 2)
    assert a.heard == []
    back(a)
    assert [event.job_id for event in a.heard] == ["001"]
    assert a.caches() == Node(b.store._store, "c", Roll()).caches()
    work = a.claim()
    assert work is not None
    assert work.job.id == "001"


def test_what_a_worker_reports_while_the_server_is_away_is_stored_once(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    job = submitted(a)
    work = a.claim()
    assert work is not None
    a.store.cut = True
    done = Finished(job_id=job.id, fence=work.job.fence, outcome=ANSWER)
    a.apply(done)
    owed = a.handlers.owes
    assert owed
    back(a)
    assert not a.handlers.owes
    assert [event.state for event in a.heard] == ["queued", "loading", "working", "done"]


def test_a_silent_node_is_evicted_and_its_jobs_run_elsewhere(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a)
    assert b.claim() is not None
    for _ in range(7):  # a goes on, b is silent
        a.now += 3
        a.beat()
    a.now += 300
    work = a.claim()
    assert work is not None
    assert (work.job.id, work.job.attempt, work.job.target) == (job.id, 2, "t@a")


def test_a_node_that_was_silent_itself_evicts_nobody(nodes: tuple[Node, Node]) -> None:
    """The server was away for all of them."""
    a, b = nodes
    submitted(a)
    assert b.claim() is not None
    a.now += 3600
    a.beat()
    assert [job.id for job in a.store.running()] == ["001"]
    b.now += 3601
    b.beat()
    a.now += 30
    a.beat()
    assert [job.id for job in a.store.running()] == ["001"]


def test_a_node_that_was_evicted_alive_joins_again(nodes: tuple[Node, Node]) -> None:
    """It hears that its job went back to the queue; what it reports of its attempt is dropped."""
    a, b = nodes
    submitted(a)
    work = b.claim()
    assert work is not None
    for _ in range(7):
        a.now += 3
        a.beat()
    b.now += 60
    b.say(Finished(job_id=work.job.id, fence=work.job.fence, outcome=ANSWER))
    assert [event.state for event in b.heard] == ["queued", "loading", "working", "queued"]
    assert a.store.nodes()[1].state is NodeState.UP
    a.now += 300
    again = a.claim()
    assert again is not None
    assert again.job.attempt == 2


def test_one_node_coordinates_and_another_takes_over(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.beat()
    b.beat()
    assert (a.handlers.coordinates, b.handlers.coordinates) == (True, False)
    for _ in range(7):
        b.now += 3
        b.beat()
    a.look()
    assert (a.handlers.coordinates, b.handlers.coordinates) == (False, True)
    a.now += 21
    a.beat()
    assert (a.handlers.coordinates, b.handlers.coordinates) == (False, True)
    b.beat(state=NodeState.GONE)
    a.beat()
    assert a.handlers.coordinates


def test_a_job_that_was_cancelled_and_deleted_elsewhere_runs_no_more(nodes: tuple[Node, Node]) -> None:
    """Its events went with it, so that none says how it ended."""
    a, b = nodes
    other, job = submitted(a, 2), submitted(a)
    works = [a.claim(), a.claim()]
    b.apply(Cancel(job_id=job.id), Delete(job_id=job.id))
    commit = a.handlers.apply([])[1]
    assert commit.missed is not None
    assert commit.missed.keys() == {job.id}
    assert list(a.handlers._ledger.running) == [other.id]
    a.apply(*(Finished(job_id=w.job.id, fence=w.job.fence, outcome=ANSWER) for w in works if w))
    assert [(event.job_id, event.state) for event in a.store.events(limit=99)][-1] == (other.id, "done")
    assert a.handlers.apply([])[1].missed is None


def test_what_was_deleted_while_the_server_was_away_runs_no_more(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a)
    assert a.claim()
    a.store.away = True
    a.apply(Cancel(job_id=job.id))
    b.apply(Cancel(job_id=job.id), Delete(job_id=job.id))
    a.store.away = False
    a.now += 10
    _, commit = a.handlers.apply([Beat(targets=[])])
    assert commit.missed is not None
    assert commit.missed.keys() == {job.id}
    assert not a.handlers._ledger.running


def test_the_jobs_of_a_node_that_has_gone_without_their_ends_run_elsewhere(nodes: tuple[Node, Node]) -> None:
    """A node that ends in order while the server is away cannot store how its last jobs ended."""
    a, b = nodes
    job = submitted(a)
    assert a.claim()
    a.beat(state=NodeState.GONE)
    b.beat()
    assert [(event.job_id, event.state, event.error) for event in b.own] == [
        (job.id, State.QUEUED, "foreman stopped while this job was running")
    ]
    assert not b.handlers._ledger.running


def test_a_receiver_that_wants_no_more_gets_no_more_from_any_node(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    job = submitted(a, webhook_url="http://10.0.0.1/hook")
    work = a.claim()
    assert work is not None
    [delivery, *_] = b.store.deliveries(job.id)
    b.say(DeliveryEnded(delivery=delivery, sent=Sent(status=410, error="gone")))
    a.say(Finished(job_id=job.id, fence=work.job.fence, outcome=ANSWER))
    assert [(event.state, event.posted) for event in a.own][-1] == (State.DONE, False)
    stored = a.store.job(job.id)
    assert stored is not None and stored.webhook_url is None


def test_the_oldest_job_of_a_line_is_known_though_its_numbers_stay(nodes: tuple[Node, Node]) -> None:
    """One job leaves the line and another enters it, in one transaction."""
    a, b = nodes
    submitted(a)
    b.look()
    a.apply(Claim(target="t@a", loaded=lambda key: True), Submit(draft=draft(2)))
    assert a.given[0].job.id == "001"
    work = b.claim()
    assert work is not None
    assert work.job.id == "002"
    assert b.caches() == Node(b.store._store, "c", Roll()).caches()


def test_a_node_that_owes_reports_does_not_try_all_the_time(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    submitted(a)
    work = a.claim()
    assert work is not None
    a.look()
    a.now += 1  # its next look is overdue
    a.store.away = True
    a.handlers.apply([Finished(job_id=work.job.id, fence=work.job.fence, outcome=ANSWER)])
    assert a.handlers.owes
    assert a.handlers.next_due is not None and a.handlers.next_due > a.now


def test_a_job_waits_for_the_node_that_has_its_model_loaded(nodes: tuple[Node, Node]) -> None:
    """As for a target of the same node: what would have to be loaded here is left to a free slot there."""
    a, b = nodes
    a.beat()
    b.beat("m")
    a.look()
    submitted(a)
    assert a.claim() is None
    work = b.claim()
    assert work is not None
    submitted(a, 2)
    submitted(a, 3)
    assert b.claim() is not None
    b.beat("m", state=NodeState.DRAINING)
    taken = a.claim()
    assert taken is not None


class Fleet(RuleBasedStateMachine):
    """Any commands at any nodes: none sees a gap, and all caches are as the store has them."""

    @initialize(count=st.integers(2, 3))
    def begin(self, count: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.shared = SqliteWriter(Path(self.folder.name) / "foreman.db")
        self.roll = Roll()
        self.nodes = [Node(self.shared, name, self.roll) for name in "abc"[:count]]
        self.made = 0
        self.works: list[tuple[Node, Work]] = []

    def teardown(self) -> None:
        if hasattr(self, "shared"):
            self.shared.close()
            self.folder.cleanup()

    def _at(self, number: int) -> Node:
        return self.nodes[number % len(self.nodes)]

    @rule(at=st.integers(0, 2), key=st.sampled_from("xy"), later=st.sampled_from([None, 5.0]))
    def submit(self, at: int, key: str, later: float | None) -> None:
        self.made += 1
        node = self._at(at)
        due = None if later is None else node.now + later
        node.apply(Submit(draft=draft(self.made, model=key, key=key, not_before=due)))

    @rule(at=st.integers(0, 2))
    def claim(self, at: int) -> None:
        if work := self._at(at).claim():
            assert work.job.id not in {one.job.id for _, one in self.works}, "it runs already"
            self.works.append((self._at(at), work))

    @rule(at=st.integers(0, 9), well=st.booleans())
    def finish(self, at: int, well: bool) -> None:
        if self.works:
            node, work = self.works.pop(at % len(self.works))
            outcome = ANSWER if well else TargetLost("t", "it hung up")
            node.say(Finished(job_id=work.job.id, fence=work.job.fence, outcome=outcome))

    @rule(at=st.integers(0, 2), job=st.integers(1, 9))
    def cancel(self, at: int, job: int) -> None:
        self._at(at).apply(Cancel(job_id=f"{job:03}"))
        state = self._state(job)
        self.works = [one for one in self.works if state in RUNNING or one[1].job.id != f"{job:03}"]

    @rule(at=st.integers(0, 2), job=st.integers(1, 9))
    def delete(self, at: int, job: int) -> None:
        self._at(at).apply(Delete(job_id=f"{job:03}"))

    @rule(at=st.integers(0, 2), paused=st.booleans())
    def pause(self, at: int, paused: bool) -> None:
        self._at(at).apply(Pause() if paused else Resume())

    @rule(at=st.integers(0, 2))
    def prune(self, at: int) -> None:
        self._at(at).apply(Prune(most=5))

    @rule(seconds=st.sampled_from([1.0, 6.0, 200.0]))
    def wait(self, seconds: float) -> None:
        for node in self.nodes:
            node.now += seconds
        self._at(0).apply()

    @rule(at=st.integers(0, 2))
    def look(self, at: int) -> None:
        self._at(at).look()

    @rule(at=st.integers(0, 2))
    def lose_an_answer(self, at: int) -> None:
        """The server goes away right after the next commit, and comes back."""
        node = self._at(at)
        node.store.cut = True
        self.submit(at, "x", None)
        node.store.cut = node.store.away = False
        node.now += 10
        node.look()
        node.now -= 10

    @rule(at=st.integers(0, 2))
    def restart(self, at: int) -> None:
        node = self._at(at)
        fresh = Node(self.shared, node.name, self.roll, now=node.now)
        fresh.heard = node.heard
        node.look()
        self.nodes[self.nodes.index(node)] = fresh
        fresh.say(Rescue(target=f"t@{node.name}"))
        self.works = [(one, work) for one, work in self.works if one is not node]

    def _state(self, job: int) -> State | None:
        found = self.shared.job(f"{job:03}")
        return found.state if found else None

    @invariant()
    def each_follows_the_log(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for node in 2 * self.nodes:  # the first look of one may wake or expire a job
            node.look()
        stored = Node(self.shared, "z", Roll()).caches()
        longest = max((node.heard for node in self.nodes), key=len)
        for node in self.nodes:
            assert node.caches() == stored
            assert [event.seq for event in node.heard] == sorted({event.seq for event in node.heard})
            assert node.heard == longest
        running = {job.id: node_of(job.target) for job in self.shared.running()}
        assert running == {work.job.id: node.name for node, work in self.works}


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
