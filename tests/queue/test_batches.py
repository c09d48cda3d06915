"""Batches: their handlers, and in any order of commands, crashes and time."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from foreman.domain.batches import CANCELLABLE, ENDED, FED, Batch, BatchState, Counts, LineFault, Step, step
from foreman.domain.caller import Caller
from foreman.domain.errors import (
    AdminRequired,
    BatchEnded,
    BatchNotEnded,
    BatchNotFound,
    FileNotFound,
    ForemanError,
    LineOfBatch,
    ModelNotFound,
    QuotaExceeded,
    TargetRefused,
)
from foreman.domain.files import BATCH_OUTPUT, BATCH_RESULTS, Blob, File
from foreman.domain.job import RUNNING, TERMINAL, Artifact, Job, Priority, State
from foreman.domain.quotas import Quota
from foreman.domain.retry import Backoff
from foreman.domain.usage import Tokens
from foreman.queue.batch_commands import (
    AddBatch,
    AddCheckedBatch,
    AdvanceBatch,
    CancelBatch,
    CheckedBatch,
    DeleteBatch,
    EndBatch,
    FailBatch,
    FeedBatch,
    Line,
    NewBatch,
    Results,
)
from foreman.queue.commands import Answered, Cancel, Claim, Delete, Finished, Message, NewFile, Prune, Rescue, Retry
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store import integrity
from foreman.store.blobs import add_whole
from foreman.store.protocol import Writer
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import draft
from tests.support.queue import QueueHarness
from tests.support.sites import only_site

CHAT = "/v1/chat/completions"
ANSWER = Answered(
    [Artifact(name="completion", content_type="application/json", data=b"{}")],
    tokens=Tokens(prompt=5, cached=3, answer=7),
)
REFUSAL = ModelNotFound("nothing")


def new_input(store: Writer, owner: str = "") -> File:
    blob = add_whole(store.blobs, b"lines")
    with store.transaction(1):
        if (known := store.file("file-in")) is None:
            known = File(
                id="file-in",
                owner=owner,
                purpose="batch",
                filename="lines.jsonl",
                size=5,
                created_at=1.0,
                expires_at=None,
                blob=blob.digest,
            )
            store.add_file(known, blob)
    store.blobs.pending.discard(blob.key)
    return known


def line(batch: str, number: int, *, refused: bool = False, owner: str = "", model: str = "m") -> Line:
    job = draft(
        id=f"{batch[-3:]}{number:05}",
        model=model,
        key=model,
        endpoint=CHAT,
        priority=Priority.LOW,
        custom_id=f"line {number}",
        batch_id=batch,
        batch_line=number,
        max_attempts=2,
        owner=owner,
        refusal=REFUSAL if refused else None,
    )
    return Line(job, read_to=10 * (number + 1))


def stored(store: Writer, data: bytes = b"lines") -> Blob:
    blob: Blob = add_whole(store.blobs, data)
    store.blobs.pending.discard(blob.key)
    return blob


def results(store: Writer, name: str, data: bytes = b"lines") -> Results:
    new = NewFile(id=name, purpose=BATCH_OUTPUT, filename=f"{name}.jsonl", counted=False)
    return Results(new, stored(store, data))


class Batches(QueueHarness):
    """Handlers with one batch."""

    def add(self, total: int | None = None, number: int = 1, **fields: Any) -> Batch:
        new_input(self.store, fields.get("owner", ""))
        new = NewBatch(**({"id": f"batch_{number:03}", "endpoint": CHAT, "input_file": "file-in"} | fields))
        batch: Batch = self.say(AddBatch(new))
        if total is not None:
            self.say(CheckedBatch(batch.id, total, "m"))
        return self.batch(batch.id)

    def batch(self, batch_id: str = "batch_001") -> Batch:
        found = self.store.batch(batch_id)
        assert found is not None
        return found

    def feed(self, *lines: Line) -> int:
        taken: int = self.say(FeedBatch("batch_001", self.batch().fed, lines))
        return taken

    def lines(self, count: int, **fields: Any) -> list[Line]:
        return [line("batch_001", self.batch().fed + n, **fields) for n in range(count)]

    def work(self, outcome: Answered | ForemanError = ANSWER) -> Job:
        job = self.claimed()
        self.finish(job, outcome)
        return job


@pytest.fixture
def queue(store: SqliteWriter) -> Batches:
    return Batches(store, batch_window=1000)


def test_a_batch_goes_from_its_input_to_its_files(queue: Batches) -> None:
    batch = queue.add()
    assert (batch.state, batch.total, batch.ends_by) == (BatchState.VALIDATING, None, queue.now + 1000)
    assert step(batch, queue.now) is Step.CHECK
    queue.say(CheckedBatch(batch.id, 3, "m"))
    assert queue.batch().state is BatchState.IN_PROGRESS
    assert step(queue.batch(), queue.now) is Step.FEED
    assert queue.feed(*queue.lines(2), line("batch_001", 2, refused=True)) == 3
    assert step(queue.batch(), queue.now) is Step.NOTHING
    queue.work()
    queue.work(TargetRefused(400, "no"))
    assert queue.batch().counts == Counts(1, 2, 0, 0, 5, 3, 7)
    assert step(queue.batch(), queue.now) is Step.ADVANCE
    queue.say(AdvanceBatch(batch.id))
    assert queue.batch().state is BatchState.FINALIZING
    assert step(queue.batch(), queue.now) is Step.WRITE
    ended = queue.say(EndBatch(batch.id, results(queue.store, "file-out"), results(queue.store, "file-err", b"other")))
    assert ended.batch == queue.batch()
    assert (ended.output_used, ended.error_used) == (False, True)  # the output has the bytes of the input
    assert ended.batch.state is BatchState.COMPLETED
    assert (ended.batch.output_file, ended.batch.error_file) == ("file-out", "file-err")
    assert ended.batch.input_blob is None
    assert step(ended.batch, queue.now) is Step.NOTHING
    assert queue.say(EndBatch(batch.id, None, None)) is None


def test_a_line_that_is_refused_is_a_job_that_failed(queue: Batches) -> None:
    queue.add(total=1)
    queue.feed(line("batch_001", 0, refused=True))
    job = queue.store.job("00100000")
    assert job is not None
    assert (job.state, job.error_code) == (State.FAILED, "model_not_found")
    assert queue.store.content(job.id, "error") == (
        b'{"status_code":404,"body":{"error":{"message":"model not found","type":"invalid_request_error",'
        b'"param":null,"code":"model_not_found"}}}'
    )


def test_a_repeated_feed_does_nothing(queue: Batches) -> None:
    queue.add(total=4)
    first = FeedBatch("batch_001", 0, queue.lines(2))
    assert queue.say(first) == 2
    assert queue.say(FeedBatch("batch_001", 0, first.lines)) == 0
    assert (queue.batch().fed, queue.batch().read_to) == (2, 20)


def test_a_batch_that_is_larger_than_the_queue_is_fed_as_room_comes(store: SqliteWriter) -> None:
    queue = Batches(store, max_queue=10)
    queue.add(total=20)
    assert queue.feed(*queue.lines(20)) == 5
    assert queue.feed(*queue.lines(15)) == 0
    for n in range(5):
        queue.submit(n + 1)  # others always have room
    for _ in range(7):
        queue.work()
    assert queue.feed(*queue.lines(15)) == 2
    assert queue.batch().fed == 7


def test_a_queue_of_one_is_fed_too(store: SqliteWriter) -> None:
    queue = Batches(store, max_queue=1)
    queue.add(total=2)
    assert queue.feed(*queue.lines(2)) == 1


def test_few_lines_wait_at_once(queue: Batches) -> None:
    queue.add(total=2 * FED)
    assert queue.feed(*queue.lines(2 * FED)) == FED
    assert queue.feed(*queue.lines(1)) == 0


def test_a_quota_slows_its_owners_batch(store: SqliteWriter) -> None:
    queue = Batches(store, quotas={"ann": Quota(waiting=3)})
    queue.add(total=9, owner="ann")
    assert queue.feed(*queue.lines(9, owner="ann")) == 3


def test_lines_of_too_many_models_wait(queue: Batches) -> None:
    queue.add(total=9)
    for n in range(999):
        queue.submit(n + 1, model=f"m{n}")
    assert queue.feed(*(line("batch_001", n, model=f"n{n}", refused=n == 1) for n in range(5))) == 2


def test_a_cancelled_batch_ends_its_lines_and_counts_the_others(queue: Batches) -> None:
    queue.add(total=5)
    queue.feed(*queue.lines(3))
    running = queue.claimed()
    cancelled = queue.say(CancelBatch("batch_001"))
    assert (cancelled.state, cancelled.times["cancelling"]) == (BatchState.CANCELLING, queue.now)
    queue.now += 1
    assert queue.say(CancelBatch("batch_001")) == cancelled
    assert queue.feed(*queue.lines(1)) == 0
    queue.say(AdvanceBatch("batch_001"))
    assert (running.id, "cancelled") in [(event.job_id, event.state) for event in queue.commit.events]
    assert queue.batch().counts == Counts(cancelled=3)
    ended = queue.say(EndBatch("batch_001", None, None)).batch
    assert (ended.state, ended.counts) == (BatchState.CANCELLED, Counts(cancelled=5))
    with pytest.raises(BatchEnded):
        queue.say(CancelBatch("batch_001"))


def test_an_expired_batch_counts_running_lines_as_expired(queue: Batches) -> None:
    queue.add(total=5)
    queue.feed(*queue.lines(3))
    queue.work()
    running = queue.claimed()
    queue.now += 1000
    assert step(queue.batch(), queue.now) is Step.ADVANCE
    queue.say(AdvanceBatch("batch_001"))
    states = {job.id: (job.state, job.error_code) for job in queue.store.jobs(limit=9) if job.state is not State.DONE}
    assert states.pop(running.id) == (State.CANCELLED, "batch_expired")
    assert set(states.values()) == {(State.EXPIRED, "batch_expired")}
    with pytest.raises(BatchEnded):
        queue.say(CancelBatch("batch_001"))
    ended = queue.say(EndBatch("batch_001", None, None)).batch
    assert (ended.state, ended.counts) == (BatchState.EXPIRED, Counts(1, 0, 0, 4, 5, 3, 7))


def test_a_bad_input_fails_the_batch_at_once(queue: Batches) -> None:
    queue.add()
    fault = LineFault("empty_file", "it has no lines")
    queue.say(FailBatch("batch_001", [fault]))
    batch = queue.batch()
    assert (batch.state, batch.errors, batch.total, batch.counts) == (BatchState.FAILED, (fault,), 0, Counts())
    queue.say(CheckedBatch("batch_001", 3, None))
    assert queue.batch() == batch


def test_a_lost_input_fails_what_is_left(queue: Batches) -> None:
    queue.add(total=5)
    queue.feed(*queue.lines(2))
    queue.work()
    queue.say(FailBatch("batch_001", [LineFault("input_missing", "gone")]))
    assert step(queue.batch(), queue.now) is Step.ADVANCE
    queue.say(AdvanceBatch("batch_001"))
    ended = queue.say(EndBatch("batch_001", None, None)).batch
    assert (ended.state, ended.counts) == (BatchState.FAILED, Counts(1, 3, 1, 0, 5, 3, 7))


def test_a_repeated_request_gets_the_batch_that_is_there(queue: Batches) -> None:
    batch = queue.add(metadata={"a": "b"})
    assert queue.add(number=2, metadata={"a": "b"}, repeated=True).id == batch.id
    assert queue.add(number=3, metadata={"a": "c"}, repeated=True).id == "batch_003"
    assert queue.add(number=4, metadata={"a": "c"}).id == "batch_004"
    queue.now += 601
    assert queue.add(number=5, metadata={"a": "c"}, repeated=True).id == "batch_005"
    with pytest.raises(FileNotFound):
        queue.say(AddBatch(NewBatch(id="batch_006", endpoint=CHAT, input_file="file-none")))


def test_a_batch_is_made_with_its_input_at_once(queue: Batches) -> None:
    blob = stored(queue.store)
    new = NewBatch(id="batch_001", kind="anthropic", endpoint="/v1/messages")
    batch, used = queue.say(AddCheckedBatch(new, blob, 3, "m"))
    assert used
    assert (batch.state, batch.total, batch.model) == (BatchState.IN_PROGRESS, 3, "m")
    assert (batch.kind, batch.input_blob, batch.ends_by) == ("anthropic", blob.digest, queue.now + 1000)
    assert queue.batch() == batch
    assert step(batch, queue.now) is Step.FEED
    assert queue.store.unused_blobs(9) == []


def test_an_input_that_is_no_file_counts_as_one_until_its_batch_ends(store: SqliteWriter) -> None:
    queue = Batches(store, quotas={"alice": Quota(max_files=1)})

    def add(number: int, owner: str = "alice") -> None:
        new = NewBatch(id=f"batch_{number:03}", kind="native", endpoint="", owner=owner)
        queue.say(AddCheckedBatch(new, stored(store, b"%d" % number), 1))

    add(1)
    with pytest.raises(
        QuotaExceeded, match="alice has 1 file or input of a batch, and the quota of this token allows 1"
    ):
        add(2)
    add(3, owner="bob")
    queue.say(CancelBatch("batch_001"))
    queue.say(EndBatch("batch_001", None, None))
    add(4)


def test_a_repeated_request_with_the_same_input_gets_the_batch_that_is_there(queue: Batches) -> None:
    def add(number: int, data: bytes = b"lines", **fields: Any) -> tuple[str, bool]:
        new = NewBatch(id=f"batch_{number:03}", endpoint="/v1/messages", **({"kind": "anthropic"} | fields))
        batch, used = queue.say(AddCheckedBatch(new, stored(queue.store, data), 3))
        return batch.id, used

    assert add(1, repeated=True) == ("batch_001", True)
    assert add(2, repeated=True) == ("batch_001", False)
    assert add(3) == ("batch_003", False)
    assert add(4, b"other", repeated=True) == ("batch_004", True)
    assert add(5, owner="ann", repeated=True) == ("batch_005", False)
    assert add(6, kind="native", repeated=True) == ("batch_006", False)


def test_a_deleted_batch_is_gone_and_its_jobs_go_in_steps(queue: Batches) -> None:
    queue.add(total=1, kind="anthropic")
    queue.feed(*queue.lines(1))
    with pytest.raises(BatchNotEnded):
        queue.say(DeleteBatch("batch_001"))
    queue.work()
    queue.say(AdvanceBatch("batch_001"))
    out = results(queue.store, "file-out", b"results")
    queue.say(EndBatch("batch_001", replace(out, new=replace(out.new, purpose=BATCH_RESULTS)), None))
    with pytest.raises(AdminRequired):
        queue.say(DeleteBatch("batch_001", Caller("bob", admin=False)))
    queue.say(DeleteBatch("batch_001"))
    assert queue.batch().is_going
    assert queue.store.file("file-out") is None
    for what in (DeleteBatch, CancelBatch):
        with pytest.raises(BatchNotFound):
            queue.say(what("batch_001"))
    assert queue.say(Prune(most=9)) == 2
    assert queue.store.batch("batch_001") is None


def test_another_callers_batch_is_not_cancelled(queue: Batches) -> None:
    queue.add(owner="ann")
    with pytest.raises(AdminRequired):
        queue.say(CancelBatch("batch_001", Caller("bob", admin=False)))
    for batch_id, caller in (("batch_001", Caller("bob", admin=False, sees_all=False)), ("batch_002", Caller())):
        with pytest.raises(BatchNotFound):
            queue.say(CancelBatch(batch_id, caller))


def test_a_line_is_neither_deleted_nor_retried(queue: Batches) -> None:
    queue.add(total=1)
    queue.feed(*queue.lines(1))
    job = queue.work(TargetRefused(400, "no"))
    for what in (Delete, Retry):
        with pytest.raises(LineOfBatch):
            queue.say(what(job_id=job.id))


def test_lines_are_pruned_with_their_batch(queue: Batches) -> None:
    queue.add(total=3)
    queue.feed(*queue.lines(3))
    for _ in range(3):
        queue.work(TargetRefused(400, "no"))
    queue.now += 101  # job_ttl is 100
    assert queue.say(Prune(most=9)) == 0
    queue.say(AdvanceBatch("batch_001"))
    queue.say(EndBatch("batch_001", None, None))
    queue.now += 101
    assert [queue.say(Prune(most=2)) for _ in range(3)] == [2, 2, 0]
    assert queue.store.jobs(limit=9) == []
    assert queue.store.batch("batch_001") is None


class Machine(RuleBasedStateMachine):
    """Feeding, work, cancels, expiry, retries and crashes in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "foreman.db"
        self.now = 1_000_000.0
        self.made = 0
        self.totals: dict[str, int] = {}
        self._open()

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self._end_all()
        keys = self.store.blobs.stored(None)  # as the sweep of the pruner does
        self.store.blobs.remove(set(keys) - self.store.named_blobs(keys))
        self.store.close()
        problems = integrity.check(self.path).problems
        self.folder.cleanup()
        assert problems == []

    def _open(self) -> None:
        self.store = SqliteWriter(self.path)
        rules = JobRules(max_queue=12, job_ttl=0, backoff=Backoff(2, 300), batch_window=500)
        self.handlers = CommandHandlers(self.store, rules, only_site(), clock=lambda: self.now, chance=lambda: 0.5)

    def _tell(self, *messages: Message[Any]) -> list[Any]:
        answers = {id(message): answer for message, answer in self.handlers.apply(messages)[0]}
        return [answers.get(id(message)) for message in messages]

    def _some(self, number: int) -> Batch | None:
        ids = [*self.totals]
        return self.store.batch(ids[number % len(ids)]) if ids else None

    def _job(self, number: int) -> Job | None:
        jobs = self.store.jobs(limit=1000)
        return jobs[number % len(jobs)] if jobs else None

    @rule(total=st.integers(1, 8))
    def add(self, total: int) -> None:
        new_input(self.store)
        self.made += 1
        self.totals[f"batch_{self.made:03}"] = total
        self._tell(AddBatch(NewBatch(id=f"batch_{self.made:03}", endpoint=CHAT, input_file="file-in")))

    @rule(number=st.integers(0, 99), bad=st.booleans())
    def check(self, number: int, bad: bool) -> None:
        if batch := self._some(number):
            if bad and not number % 3:
                self._tell(FailBatch(batch.id, [LineFault("empty_file", "it has no lines")]))
            else:
                self._tell(CheckedBatch(batch.id, self.totals[batch.id], "m"))

    @rule(number=st.integers(0, 99), many=st.integers(1, 9), refused=st.integers(0, 9), late=st.integers(-1, 1))
    def feed(self, number: int, many: int, refused: int, late: int) -> None:
        """Two nodes may feed at once, and one of them may be late."""
        if (batch := self._some(number)) and batch.total:
            begin = max(0, batch.fed + late)
            many = min(many, batch.total - begin)
            lines = [line(batch.id, begin + n, refused=n == refused) for n in range(many)]
            if lines:
                self._tell(FeedBatch(batch.id, begin, lines), FeedBatch(batch.id, begin, lines))

    @rule(ok=st.booleans(), ends=st.booleans())
    def work(self, ok: bool, ends: bool) -> None:
        claim = Claim(loaded=lambda key: True)
        [work] = self._tell(claim)
        if work is None:
            self.handlers.apply([])
            claim.reply.settle(None)
            self.handlers._ledger.claims.refuse("")
        elif ends:
            job = work.job
            self._tell(Finished(job_id=job.id, fence=job.fence, outcome=ANSWER if ok else TargetRefused(400, "no")))

    @rule(number=st.integers(0, 99))
    def finish_late(self, number: int) -> None:
        running = [job for job in self.store.jobs(limit=1000) if job.state in RUNNING]
        if running:
            job = running[number % len(running)]
            self._tell(Finished(job_id=job.id, fence=job.fence, outcome=ANSWER))

    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        if batch := self._some(number):
            [answer] = self._tell(CancelBatch(batch.id))
            assert isinstance(answer, BatchEnded) is (batch.state not in CANCELLABLE)

    @rule(number=st.integers(0, 99), what=st.sampled_from([Cancel, Retry, Delete]))
    def change_a_job(self, number: int, what: type[Message[Any]]) -> None:
        if job := self._job(number):
            self._tell(what(job_id=job.id))  # type: ignore[call-arg]
            assert self.store.job(job.id) is not None

    @rule(number=st.integers(0, 99))
    def advance(self, number: int) -> None:
        if batch := self._some(number):
            self._tell(AdvanceBatch(batch.id))

    @rule(number=st.integers(0, 99))
    def end(self, number: int) -> None:
        if batch := self._some(number):
            message = EndBatch(batch.id, results(self.store, f"file-{self.made}-{batch.id}"), None)
            [answer, again] = self._tell(message, EndBatch(batch.id, None, None))
            assert again is None
            if answer is not None:
                assert answer.batch.state in ENDED

    @rule(seconds=st.sampled_from([1.0, 100.0, 501.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        self.store.close()
        self._open()
        self._tell(Rescue())

    def _end_all(self) -> None:
        """Bring every batch to its end, as the actor does."""
        self.now += 600
        for batch_id in self.totals:
            for _ in range(9):
                batch = self.store.batch(batch_id)
                assert batch is not None
                match step(batch, self.now):
                    case Step.NOTHING:
                        break
                    case Step.CHECK:
                        self._tell(CheckedBatch(batch_id, self.totals[batch_id], "m"))
                    case Step.WRITE:
                        self._tell(EndBatch(batch_id, None, None))
                    case _:
                        self._tell(AdvanceBatch(batch_id))
            assert batch is not None
            assert batch.state in ENDED
            self._check_end(batch)

    def _check_end(self, batch: Batch) -> None:
        assert batch.total == batch.counts.ended
        lines = self.store.finished_lines(batch.id, after=-1, limit=1000)
        assert [one.line for one in lines] == list(range(batch.fed))  # each once
        assert all(one.state in TERMINAL for one in lines)

    @invariant()
    def counts_are_those_of_the_jobs(self) -> None:
        if not hasattr(self, "store"):
            return
        for batch_id in self.totals:
            batch = self.store.batch(batch_id)
            assert batch is not None
            if batch.state in ENDED:
                self._check_end(batch)
                continue
            lines = self.store.finished_lines(batch.id, after=-1, limit=1000)
            assert len(lines) == batch.fed
            assert _counted(lines) == batch.counts[:4]


def _counted(lines: Sequence[Any]) -> tuple[int, ...]:
    ends: Counter[str] = Counter()
    for one in lines:
        ends["expired" if one.error_code == "batch_expired" else one.state] += 1
    return tuple(ends[state] for state in ("done", "failed", "cancelled", "expired"))


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=40)
