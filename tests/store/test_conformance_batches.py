"""Batches, on every engine."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from foreman.domain.batches import Batch, BatchState, Counts, LineFault
from foreman.domain.job import Artifact, Job, State
from foreman.store.blobs import add_whole
from foreman.store.own import OwnJobs
from foreman.store.records import Selection
from tests.store.conftest import Store, add, done, draft, put
from tests.store.test_conformance_files import a_file
from tests.support.queue import writing


def a_batch(number: int = 1, **fields: Any) -> Batch:
    plain: dict[str, Any] = {"id": f"batch_{number:03}", "endpoint": "/v1/chat/completions", "input_file": "file-1"}
    return Batch(**(plain | {"input_blob": None, "created_at": 100.0} | fields))


def keep(store: Store, *batches: Batch) -> None:
    with store.transaction(100):
        for batch in batches:
            store.add_batch(batch)


def lines(store: Store, count: int, batch: str = "batch_001") -> list[Job]:
    return add(store, *(draft(n, batch_id=batch, batch_line=n, custom_id=f"line {n}") for n in range(count)))


def test_a_batch_is_read_as_it_was_written(store: Store) -> None:
    whole = a_batch(
        owner="ann",
        caller="app",
        metadata={"of": "ann"},
        ends_by=900.5,
        output_ttl=3600.0,
        model="m",
        total=3,
        times={"in_progress": 101.5},
        errors=(LineFault("empty_file", "it has no lines", 1, "body"),),
        name="nightly",
        webhook_url="http://127.0.0.1/hook",
        idempotency_key="tonight",
    )
    keep(store, whole, a_batch(2))
    assert store.batch("batch_001") == store.reader().batch("batch_001") == whole
    assert store.batch("batch_002") == a_batch(2)
    assert store.batch("batch_003") is None


def test_a_key_is_that_of_one_owner(store: Store) -> None:
    keep(store, *(a_batch(n, owner=owner, idempotency_key="tonight") for n, owner in enumerate(("ann", "bob"))))
    keep(store, a_batch(2, owner="ann"), a_batch(3, owner="ann"))
    assert store.batch_by_key("ann", "tonight") == store.batch("batch_000")
    assert store.reader().batch_by_key("bob", "tonight") == store.batch("batch_001")
    assert store.batch_by_key("ann", "other") is None
    assert OwnJobs(store.reader(), "ann").batch_by_key("bob", "tonight") is None


def test_a_change_leaves_the_counts_to_the_jobs(store: Store) -> None:
    keep(store, a_batch())
    with store.transaction(100):
        store.count_lines({"batch_001": Counts(completed=2, prompt_tokens=2**40)})
        store.count_lines({"batch_001": Counts(completed=-1, failed=1)})
        changed = a_batch(state=BatchState.FINALIZING, ending=BatchState.COMPLETED, fed=2, read_to=2**33, total=2)
        store.put_batch(changed)
    counts = Counts(completed=1, failed=1, prompt_tokens=2**40)
    assert store.batch("batch_001") == replace(changed, counts=counts)


def test_batches_are_listed_newest_first_and_by_owner(store: Store) -> None:
    keep(store, *(a_batch(n, owner="ann" if n % 2 else "bob") for n in range(1, 6)))
    reader = store.reader()
    assert [one.id[-1] for one in reader.batches(limit=3)] == ["5", "4", "3"]
    assert [one.id[-1] for one in reader.batches(after="batch_003", limit=9)] == ["2", "1"]
    assert [one.id[-1] for one in reader.batches(owner="ann", after="batch_005", limit=9)] == ["3", "1"]
    ended = {"state": BatchState.EXPIRED, "ended_at": 100.0}
    keep(store, a_batch(6, owner="ann", **ended), a_batch(7, owner="bob", **ended))
    states = (BatchState.EXPIRED, BatchState.FAILED)
    assert [one.id[-1] for one in reader.batches(states=states, limit=9)] == ["7", "6"]
    assert [one.id[-1] for one in OwnJobs(reader, "ann").batches(states=states, limit=9)] == ["6"]
    own = OwnJobs(reader, "ann")
    assert [one.id[-1] for one in own.batches(states=(BatchState.VALIDATING,), limit=9)] == ["5", "3", "1"]
    assert own.batches(owner="bob", limit=9) == []
    assert own.batch("batch_002") is None
    assert own.batch("batch_003") == store.batch("batch_003")


def test_batches_of_a_kind_are_listed_in_both_directions(store: Store) -> None:
    keep(store, *(a_batch(n, kind="anthropic" if n % 2 else "openai") for n in range(1, 8)))
    reader = store.reader()
    assert [one.id[-1] for one in reader.batches(kind="anthropic", limit=2)] == ["7", "5"]
    assert [one.id[-1] for one in reader.batches(kind="anthropic", before="batch_001", limit=2)] == ["5", "3"]
    assert [one.id[-1] for one in OwnJobs(reader, "").batches(before="batch_006", limit=9)] == ["7"]
    with store.transaction(100):
        store.put_batch(a_batch(7, kind="anthropic", expires_at=0.0))  # it is being removed
    assert [one.id[-1] for one in reader.batches(limit=2)] == ["6", "5"]


def test_inputs_of_open_batches_that_are_no_file_are_counted_as_files(store: Store) -> None:
    blob = add_whole(store.blobs, b"lines")
    store.blobs.pending.discard(blob.key)
    with store.transaction(100):
        store.add_file(a_file(1, blob, owner="ann"), blob)
        store.add_batch(a_batch(1, owner="ann", input_file="file-001", input_blob=blob.digest))
        store.add_batch(a_batch(2, owner="ann", input_file="sha256:x", input_blob=blob.digest))
        store.add_batch(a_batch(3, owner="ann", input_file="sha256:x", ended_at=100.0))
        store.add_batch(a_batch(4, owner="bob", input_file="sha256:x", input_blob=blob.digest))
        assert (store.count_files("ann"), store.count_files("bob")) == (2, 1)
        store.delete_files(["file-001"])
    assert store.count_files("ann") == 2


def test_results_that_are_part_of_a_batch_go_with_it_and_are_no_file_of_its_owner(store: Store) -> None:
    blob = add_whole(store.blobs, b"lines")
    store.blobs.pending.discard(blob.key)
    with store.transaction(100):
        store.add_file(replace(a_file(1, blob), purpose="batch_results"), blob)
        store.add_file(a_file(2, blob), blob)
        for number in (1, 2):
            done = a_batch(number, ended_at=100.0, expires_at=200.0)
            store.add_batch(replace(done, output_file=f"file-00{number}"))
        assert store.count_files(a_file(1, blob).owner) == 1
        assert [file.id for file in store.files(limit=9)] == ["file-002"]
        assert store.prune_batches(300.0, 3) == 1
        assert store.prune_batches(300.0, 3) == 1
    assert store.file("file-001") is None
    assert store.file("file-002") is not None  # its expiry is its own


def test_open_batches_are_those_without_an_end_oldest_first(store: Store) -> None:
    keep(store, a_batch(1), a_batch(2, ended_at=100.0), a_batch(3), a_batch(id="msgbatch_000", created_at=99.0))
    assert [one.id[-1] for one in store.open_batches(9)] == ["0", "1", "3"]
    assert [one.id for one in store.open_batches(1)] == ["msgbatch_000"]  # its age counts, not its prefix
    assert [one.id[-1] for one in OwnJobs(store, "nobody").open_batches(9)] == []


def test_the_newest_batch_of_an_input_is_found(store: Store) -> None:
    keep(store, a_batch(1, owner="ann"), a_batch(2, owner="ann"), a_batch(3, owner="bob"))
    found = store.batch_by_input("ann", "file-1")
    assert found is not None
    assert found.id == "batch_002"
    assert store.batch_by_input("ann", "file-2") is None


def test_lines_are_jobs_in_order(store: Store) -> None:
    keep(store, a_batch())
    jobs = lines(store, 3)
    add(store, draft(9))
    done(store, jobs[1])
    put(store, jobs[2], state=State.FAILED, completed_at=100.0, error="no", error_code="bad")
    assert [
        (one.line, one.job_id, one.custom_id, one.state) for one in store.finished_lines("batch_001", after=0, limit=9)
    ] == [
        (1, "001", "line 1", "done"),
        (2, "002", "line 2", "failed"),
    ]
    assert store.finished_lines("batch_001", after=1, limit=9)[0][4:6] == ("no", "bad")
    assert len(store.finished_lines("batch_001", after=-1, limit=2)) == 2
    assert store.running_lines("batch_001", 9) == [store.job("000")]
    assert store.batch_of("001") == "batch_001"
    assert store.batch_of("009") is None
    assert [job.id for job in store.jobs(Selection(batch_id="batch_001"), limit=9)] == ["002", "001", "000"]
    assert [job.id for job in store.jobs(Selection(batch_id="batch_001", states=(State.DONE,)), limit=9)] == ["001"]
    own = OwnJobs(store, "ann")
    assert own.finished_lines("batch_001", after=-1, limit=9) == []


def test_the_input_of_an_open_batch_stays_when_its_file_is_deleted(store: Store) -> None:
    blob = add_whole(store.blobs, b"lines")
    store.blobs.pending.discard(blob.key)
    with store.transaction(100):
        store.add_file(a_file(1, blob), blob)
        store.add_batch(a_batch(input_blob=blob.digest))
        store.delete_files(["file-001"])
    assert store.unused_blobs(9) == []
    assert store.blob_content(blob.digest, 0, 9) == b"lines"
    with store.transaction(100):
        store.put_batch(a_batch(ended_at=100.0))
    assert store.unused_blobs(9) == [blob.digest]


def test_an_expired_batch_is_pruned_with_its_lines_in_steps(store: Store) -> None:
    keep(store, a_batch(1, idempotency_key="tonight"), a_batch(2, expires_at=500.0))
    for job in lines(store, 5):
        put(store, job, state=State.FAILED, completed_at=100.0)
    with store.transaction(300):
        store.put_batch(a_batch(1, expires_at=200.0, fed=5, total=5))
        assert store.prune_batches(199.0, 9) == 0
        assert store.prune_batches(300.0, 0) == 0
        assert store.batch_by_key("", "tonight") is not None
        assert store.prune_batches(300.0, 3) == 3
        assert store.batch_by_key("", "tonight") is None  # nobody sees the batch: its key is free
    assert store.batch("batch_001") is not None
    assert [job.id for job in store.jobs(limit=9)] == ["004", "003"]
    with store.transaction(300):
        assert store.prune_batches(300.0, 3) == 3
        assert store.prune_batches(300.0, 3) == 0
    assert store.batch("batch_001") is None
    assert store.jobs(limit=9) == []
    assert store.seqs().pruned == store.seqs().newest
    assert store.batch("batch_002") is not None


def test_a_rolled_back_count_is_not_counted(store: Store) -> None:
    keep(store, a_batch())
    [job] = lines(store, 1)
    with writing(store) as ledger:
        ledger.put(replace(job, state=State.CANCELLED, completed_at=100.0), job)
        ledger.roll_back()
    with writing(store):
        pass
    batch = store.batch("batch_001")
    assert batch is not None
    assert batch.counts == Counts()


def test_the_answer_of_a_failed_line_is_an_artifact(store: Store) -> None:
    keep(store, a_batch())
    [job] = lines(store, 1)
    with writing(store) as ledger:
        failed = replace(job, state=State.FAILED, completed_at=100.0)
        ledger.put(failed, job, [Artifact(name="error", content_type="application/json", data=b"{}")])
    assert store.content("000", "error") == b"{}"
