"""What every storage engine must do: jobs, their changes, and what hangs on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from foreman.domain.job import NOBODY, Artifact, Delivery, DeliveryState, Job, JobUsage, Priority, State, queued
from foreman.store.own import OwnJobs
from foreman.store.records import Cursor, Due, Order, Selection, Shape
from foreman.store.sql import listing
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import Store, add, claimed, done, draft, put
from tests.support.queue import writing


def completion(data: bytes = b"{}") -> Artifact:
    return Artifact(name="completion", content_type="application/json", data=data)


def test_a_job_comes_back_as_it_was_submitted(store: Store) -> None:
    given = draft(
        model="ünï",
        key='ünï {"num_ctx":8}',
        endpoint="/v1/messages",
        payload=b'{"model":"\xc3\xbc"}',
        priority=Priority.LOW,
        max_attempts=7,
        start_by=500.0,
        timeout=2.5,
        metadata={"k": "v", "ä": "🦙"},
        custom_id="mine",
        webhook_url="http://receiver/x",
        webhook_events=(State.DONE, State.FAILED),
        excerpt="Was heißt 🦙?",
    )
    [job] = add(store, given, now=100)
    for name in given.__struct_fields__:
        if name not in ("payload", "not_before", "idempotency_key", "fingerprints", "refusal"):
            assert getattr(job, name) == getattr(given, name), name
    assert (job.state, job.attempt, job.fence, job.created_at, job.since) == (State.QUEUED, 0, 0, 100, 100)
    assert (job.ready_at, job.started_at, job.completed_at, job.expires_at, job.error) == (None,) * 5
    assert store.content(job.id) == given.payload


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.job("x") is None
    assert store.content("x") is None
    assert store.content("x", "completion") is None
    assert store.by_idempotency_key("", "x") is None
    assert store.note("x") is None
    assert store.next_due() is None
    assert (store.shapes("x"), store.lines(), store.running(), store.jobs(limit=9)) == ([], [], [], [])
    assert store.heads("x", 1, NOBODY, limit=9) == [] and store.remains("x") is None


def test_a_change_of_state_is_kept_whole(store: Store) -> None:
    [job] = add(store, draft())
    after = put(
        store,
        claimed(store, job, now=110),
        120,
        state=State.QUEUED,
        ready_at=140.0,
        error="it broke",
        error_code="target_lost",
        since=120.0,
        max_attempts=9,
        start_by=900.0,
    )
    assert store.job(job.id) == after
    usage = JobUsage(7, None, 9, 0.25, None)
    ended = put(
        store, claimed(store, after), 150, state=State.FAILED, completed_at=150.0, expires_at=160.0, usage=usage
    )
    assert store.job(job.id) == ended


def test_a_job_may_have_run_when_it_is_added(store: Store) -> None:
    """Its first attempt may end in the transaction that adds it: well, or so that it waits again."""
    drafts = [draft(1), draft(2, webhook_url="http://receiver/x")]
    ended = replace(queued(drafts[0], 1.0), state=State.DONE, attempt=1, fence=1, started_at=1.0, completed_at=2.0)
    ended = replace(ended, usage=JobUsage(7, 0, 9, 0.25, 31.5))
    waits = replace(queued(drafts[1], 1.0), attempt=1, fence=1, ready_at=9.0, error="gone", error_code="target_lost")
    with store.transaction(1.0):
        store.add(drafts, [ended, waits])
        store.put([], {"001": [completion(b"[]")]})
    assert [store.job("001"), store.job("002")] == [ended, waits]
    assert store.content("001", "completion") == b"[]"


def test_a_job_is_there_after_the_store_was_opened_again(open_store: Callable[[], Store]) -> None:
    [job] = add(open_store(), draft())
    assert open_store().job(job.id) == job


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    [old] = add(store, draft(1))

    def fail_in_the_middle() -> None:
        with writing(store) as ledger:
            ledger.add([draft(2, webhook_url="http://r/")])
            store.set_note("paused", "true")
            store.delete([old.id])
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_the_middle()
    assert [job.id for job in store.jobs(limit=9)] == [old.id]
    assert store.note("paused") is None
    assert [lane.ready for lane in store.lines()] == [1]
    assert [event.job_id for event in store.events(limit=9)] == [old.id]


def test_the_same_id_twice_is_refused_and_leaves_the_first(store: Store) -> None:
    add(store, draft(1, custom_id="first"))
    with pytest.raises(Exception, match="(?i)unique"):
        add(store, draft(2), draft(1, custom_id="second"))
    assert [job.custom_id for job in store.jobs(limit=9)] == ["first"]


def test_an_idempotency_key_finds_its_job_and_fingerprint(store: Store) -> None:
    add(store, draft(1), draft(2, idempotency_key="k", fingerprints=(b"\x00\xff", b"x")), draft(3))
    found = store.by_idempotency_key("", "k")
    assert found is not None
    assert (found[0].id, found[1]) == ("002", b"\x00\xff")


def test_an_idempotency_key_is_its_owners(store: Store) -> None:
    named = [draft(n, owner=owner, idempotency_key="k", fingerprints=(b"f",)) for n, owner in enumerate(["", "a", "b"])]
    add(store, *named)
    found = [store.by_idempotency_key(owner, "k") for owner in ("", "a", "b", "c")]
    assert [one and one[0].id for one in found] == ["000", "001", "002", None]


def ids(
    store: Store, *, limit: int = 20, after: Cursor | None = None, order: Order = Order.NEWEST, **wanted: Any
) -> str:
    """The last digits of the ids that a list shows."""
    return "".join(job.id[-1] for job in store.jobs(Selection(**wanted), order=order, after=after, limit=limit))


def test_lists_are_newest_first_filtered_and_paged(store: Store) -> None:
    add(store, *(draft(n, model="ab"[n % 2], priority=Priority(n % 3)) for n in range(1, 10)))
    [third] = [job for job in store.jobs(limit=9) if job.id == "003"]
    claimed(store, third)
    assert ids(store) == "987654321"
    assert ids(store, limit=2) == "98"
    assert ids(store, after=Cursor("004")) == "321"
    assert ids(store, models=("a",)) == "8642"
    assert ids(store, priority=Priority.HIGH) == "963"
    assert ids(store, states=(State.LOADING,)) == "3"
    assert ids(store, states=(State.LOADING, State.QUEUED), limit=8) == "98765432"
    b: dict[str, Any] = {"states": (State.QUEUED,), "models": ("b",), "after": Cursor("009"), "limit": 1}
    assert ids(store, **b, priority=Priority.HIGH) == ""
    assert ids(store, **b) == "7"


def test_selected_jobs_are_counted_up_to_a_number(store: Store) -> None:
    add(store, *(draft(n, model="ab"[n % 2], owner="ann" if n < 4 else "") for n in range(1, 10)))
    assert store.count(Selection(), most=99) == 9
    assert store.count(Selection(models=("a", "b")), most=99) == 9
    assert store.count(Selection(models=("a",), states=(State.QUEUED,)), most=99) == 4
    assert store.count(Selection(models=("a",)), most=3) == 3
    assert store.count(Selection(states=(State.DONE,)), most=99) == 0
    own = OwnJobs(store.reader(), "ann")
    assert own.count(Selection(models=("b",)), most=99) == 2
    assert own.count(Selection(owner="bob"), most=99) == 0


def test_some_jobs_are_tested_against_a_selection(store: Store) -> None:
    add(store, *(draft(n, model="ab"[n % 2], batch_id="batch_1" if n == 4 else None) for n in range(1, 10)))
    some = ("002", "003", "004", "077")
    assert ids(store, ids=some) == "432"
    assert ids(store, ids=some, models=("a",)) == "42"
    assert ids(store, ids=some, models=("a",), states=(State.QUEUED,), alone=True) == "2"
    assert ids(store, alone=True, states=(State.QUEUED,), models=("a",)) == "862"


def test_a_list_by_model_holds_every_name_of_it_and_no_job_twice(store: Store) -> None:
    plain = draft(2, model="m:latest", key='m:latest {"num_ctx":8}')
    other = draft(4, model="m", key="n")  # an alias that has moved on since
    add(store, draft(1, model="M", key="m:latest"), plain, draft(3, model="n"), other)
    assert ids(store, models=("m:latest",)) == "21"
    assert ids(store, models=("m", "m:latest")) == "421"
    assert ids(store, models=("M",)) == "1"
    assert ids(store, models=("m:lat",)) == ""


def test_jobs_are_found_by_a_part_of_their_id(store: Store) -> None:
    ends = ["01AAAAAAAAAAAAAAAAAABCDEF1", "01AAAAAAAAAAAAAAAAAABCDEF2", "01BBBBBBBBBBBBBBBBBBBCDEF3"]
    add(store, *(draft(end) for end in ends))
    assert ids(store, id=ends[1]) == "2"
    assert ids(store, id="01AAAAAA") == "21"
    assert ids(store, id="BCDEF3") == "3"
    assert ids(store, id="01BBBB", states=(State.DONE,)) == ""
    assert ids(store, id="BCDEF4") == ids(store, id=ends[1][:-1] + "9") == ""
    assert ids(store, id="BCDEF1", after=Cursor(ends[1])) == "1"


def test_jobs_are_found_by_their_custom_id(store: Store) -> None:
    names = ["batch-1", "batch-10", "batch", "other", "batch-1", "batch-\U0010ffff", None]
    add(store, *(draft(n, custom_id=name) for n, name in enumerate(names)))
    assert ids(store, custom_id="batch-1") == "40"
    assert ids(store, custom_id="batch-1*") == "410"
    assert ids(store, custom_id="batch-*", limit=3) == "541"
    assert ids(store, custom_id="batch-*", after=Cursor("001")) == "0"
    assert ids(store, custom_id="*") == "543210"
    assert ids(store, custom_id="atch*") == ids(store, custom_id="%") == ""


def test_jobs_are_found_by_endpoint_error_and_time(store: Store) -> None:
    jobs = [
        add(store, draft(f"{n:0>26}", endpoint=endpoint), now=100.0 + n)[0]
        for n, endpoint in enumerate(["/api/chat", "/v1/messages"] * 3)
    ]
    put(store, claimed(store, jobs[1]), state=State.FAILED, error_code="target_lost")
    put(store, claimed(store, jobs[2]), state=State.FAILED, error_code="expired")
    assert ids(store, endpoint="/v1/messages") == "531"
    assert ids(store, endpoint="/v1/messages", error_code="target_lost") == "1"
    assert ids(store, error_code="expired") == "2"
    assert ids(store, created_after=103.0) == "543"
    assert ids(store, created_before=103.0) == "210"
    assert ids(store, created_after=101.0, created_before=103.0, endpoint="/api/chat") == "2"


def ran(store: Store, job: Job, target: str, at: float) -> None:
    """Have the job run on a target, and end at a time."""
    loading = put(store, job, at, state=State.LOADING, attempt=1, fence=1, started_at=at, target=target)
    working = put(store, loading, at, state=State.WORKING)
    put(store, working, at, state=State.DONE, completed_at=at)


def test_jobs_are_found_by_target_and_the_time_of_their_end(store: Store) -> None:
    jobs = add(store, *(draft(n) for n in range(6)))
    for n, job in enumerate(jobs[:4]):
        ran(store, job, "one" if n % 2 else "two", 200.0 - n)
    put(store, jobs[4], state=State.LOADING, attempt=1, fence=1, started_at=100.0, target="one")
    assert ids(store, target="one") == "431"
    assert ids(store, target="one", states=(State.LOADING,)) == "4"
    assert ids(store, target="two", order=Order.ENDED) == "02"
    assert ids(store, target="on") == ""
    assert ids(store, ended_after=198.0) == "210"
    assert ids(store, ended_after=198.0, order=Order.ENDED) == "012"
    assert ids(store, ended_after=198.0, target="one") == "1"
    assert ids(store, ended_after=0.0, states=(State.QUEUED,)) == ""
    assert store.count(Selection(ended_after=198.5), most=9) == 2


def test_jobs_are_found_by_pairs_of_their_metadata(store: Store) -> None:
    some: list[dict[str, str] | None] = [
        {"project": "sky", "user": "ann"},
        {"user": "ann", "project": "sky"},
        {"project": "skyline", "user": "bob"},
        {'x"project': "sky", "x,": "y"},
        {"note": '{"project":"sky"}', "back\\": "\\", "quote": '"'},
        {"": "", "ü\n": "🦙"},
        None,
    ]
    add(store, *(draft(n, metadata=pairs, model="ab"[n % 2]) for n, pairs in enumerate(some)))
    found: dict[str, tuple[tuple[str, str], ...]] = {
        "10": (("project", "sky"),),
        "2": (("project", "skyline"), ("user", "bob")),
        "3": (('x"project', "sky"),),
        "4": (("back\\", "\\"), ("quote", '"')),
        "5": (("", ""), ("ü\n", "🦙")),
    }
    for expected, pairs in found.items():
        assert ids(store, metadata=pairs) == expected
    for pair in (("Project", "sky"), ("project", "sk"), ("project", ""), ("", "sky"), ("ject", "sky"), ("x", "y")):
        assert ids(store, metadata=(pair,)) == ""
    assert ids(store, metadata=(("project", "sky"),), models=("a",)) == "0"
    assert ids(store, metadata=(("user", "ann"),), created_after=1.0, limit=1) == "1"
    assert store.count(Selection(metadata=(("user", "ann"),)), most=9) == 2


def test_a_list_by_end_shows_what_ended_last_first_page_by_page(store: Store) -> None:
    jobs = add(store, *(draft(n, model="ab"[n % 2]) for n in range(1, 8)))
    for job, at in zip(jobs, [300.5, 100.0, 200.0, 200.0, 50.25], strict=False):
        done(store, job, now=at)
    cancelled = put(store, jobs[5], 150, state=State.CANCELLED, completed_at=150.0)
    ended: dict[str, Any] = {"order": Order.ENDED}
    assert ids(store, **ended) == "143625"
    assert ids(store, **ended, limit=2) == "14"
    assert ids(store, **ended, after=Cursor("004", 200.0)) == "3625"
    assert ids(store, **ended, after=Cursor("003", 200.0), limit=2) == "62"
    assert ids(store, **ended, states=(State.CANCELLED,)) == "6"
    assert ids(store, **ended, models=("b",)) == "135"
    again = put(store, cancelled, 400, state=State.QUEUED, completed_at=None)
    assert ids(store, **ended) == "14325"
    put(store, again, 500, state=State.CANCELLED, completed_at=500.0)
    assert ids(store, **ended) == "614325"


def test_a_list_is_the_same_whichever_index_it_is_read_by(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    some = (draft(n, model="ab"[n % 2], custom_id=f"c{n % 4}", metadata={"k": f"{n % 3}"}) for n in range(24))
    for n, job in enumerate(add(store, *some)[:20]):
        ran(store, job, "t", 100.0 + n * 7 % 13)
    wanted: list[dict[str, Any]] = [
        {"models": ("a",), "states": (State.DONE,)},
        {"models": ("b",), "custom_id": "c*", "states": (State.DONE, State.QUEUED)},
        {"custom_id": "c1", "endpoint": "/api/chat", "priority": Priority.NORMAL},
        {"target": "t", "metadata": (("k", "2"),)},
        {"metadata": (("k", "1"),)},
        {"ended_after": 105.0},
        {"ended_after": 105.0, "target": "t", "models": ("a",)},
    ]
    short = [ids(store, order=order, **one) for one in wanted for order in Order]
    monkeypatch.setattr(listing, "FEW", 0)
    assert [ids(store, order=order, **one) for one in wanted for order in Order] == short
    assert all(short)


def test_running_are_the_loading_and_the_working_oldest_start_first(store: Store) -> None:
    jobs = add(store, *(draft(n) for n in range(1, 5)))
    second, first = claimed(store, jobs[0], now=120), claimed(store, jobs[1], now=110)
    second = put(store, second, state=State.WORKING)
    done(store, jobs[2])
    assert store.running() == [first, second]


def test_artifacts_are_kept_in_order(store: Store) -> None:
    [job] = add(store, draft())
    image = Artifact(name="image-0.png", content_type="image/png", data=b"\x89PNG\x00")
    with store.transaction():
        store.put([job], {job.id: [completion(b"{ }"), image]})
    assert store.shapes(job.id) == [
        Shape(name="completion", content_type="application/json", size=3),
        Shape(name="image-0.png", content_type="image/png", size=5),
    ]
    assert store.content(job.id, "image-0.png") == image.data
    assert store.content(job.id, "completion") == b"{ }"


@pytest.mark.parametrize("size", [2**18, 2**24])  # the larger one fits no buffer of a connection
def test_payloads_and_artifacts_are_read_in_pieces(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    [job] = add(store, draft(payload=data))
    with store.transaction():
        store.put([job], {job.id: [completion(data[1:])]})
    for name, whole in ((None, data), ("completion", data[1:])):
        assert store.size(job.id, name) == len(whole)
        assert store.content(job.id, name, begin=100_000, size=50_000) == whole[100_000:150_000]
        assert store.content(job.id, name, begin=len(whole) - 3, size=10) == whole[-3:]
    assert store.size(job.id, "other") is None and store.content(job.id, "other", begin=0, size=1) is None
    assert store.size("NOBODY") is None and store.content("NOBODY") is None


def test_every_change_has_the_next_seq_and_says_what_happened(store: Store) -> None:
    with writing(store, 100) as ledger:
        ledger.add([draft(1, custom_id="c"), draft(2)])
    made = ledger.events
    job = store.job("001")
    assert job is not None
    failed = put(store, claimed(store, job, now=110), 120, state=State.FAILED, error="broke")
    log = store.events(limit=99)
    assert log[:2] == made
    assert [event.seq for event in log] == [1, 2, 3, 4]
    assert [(event.previous, event.state) for event in store.events(job_id="001", limit=9)] == [
        (None, State.QUEUED),
        (State.QUEUED, State.LOADING),
        (State.LOADING, State.FAILED),
    ]
    last = log[-1]
    assert (last.at, last.model, last.attempt, last.error, last.custom_id) == (120, "m", failed.attempt, "broke", "c")


def test_the_log_is_read_in_pages(store: Store) -> None:
    add(store, *(draft(n) for n in range(1, 8)))
    assert [event.seq for event in store.events(after=2, limit=3)] == [3, 4, 5]
    assert [event.seq for event in store.events(after=3, job_id="004", limit=3)] == [4]
    assert store.events(after=7, limit=3) == []


def test_a_seq_is_never_used_again_even_when_its_job_is_gone(open_store: Callable[[], Store]) -> None:
    store = open_store()
    assert store.seqs() == (0, 0)
    add(store, draft(1))
    [second] = add(store, draft(2))
    assert store.seqs() == (2, 0)
    with store.transaction():
        store.delete(["001", second.id])
    assert store.seqs() == (2, 0)
    store = open_store()
    add(store, draft(3))
    assert [event.seq for event in store.events(limit=9)] == [3]
    assert store.seqs() == (3, 0)
    done(store, add(store, draft(4))[0], expires_at=200.0)
    with store.transaction():
        store.prune(300, 9)
    assert open_store().seqs() == (7, 7)


def test_deleting_a_job_takes_all_that_hangs_on_it(store: Store) -> None:
    jobs = add(store, draft(1, webhook_url="http://r/x"), draft(2))
    for job in jobs:
        done(store, job)
        with store.transaction():
            store.put([job], {job.id: [completion()]})
    with store.transaction():
        store.delete(["001"])
    assert [job.id for job in store.jobs(limit=9)] == ["002"]
    assert (store.content("001"), store.shapes("001"), store.events(job_id="001", limit=9)) == (None, [], [])
    assert len(store.shapes("002")) == 1


def test_what_is_past_its_time_is_pruned_the_longest_first(store: Store) -> None:
    jobs = add(store, *(draft(n) for n in range(1, 6)))
    for job, expires in zip(jobs, [300.0, 200.0, 100.0, None], strict=False):
        done(store, job, expires_at=expires)
    with store.transaction():
        assert store.prune(99, 9) == []
        assert store.seqs().pruned == 0
        assert store.prune(250, 1) == ["003"]
    assert store.seqs().pruned == 14  # the third job's end
    with store.transaction():
        assert store.prune(300, 9) == ["002", "001"]
    assert [job.id for job in store.jobs(limit=9)] == ["005", "004"]


def test_notes_are_kept_and_overwritten(open_store: Callable[[], Store]) -> None:
    store = open_store()
    for value in ("true", "false"):
        with store.transaction():
            store.set_note("paused", value)
    assert open_store().note("paused") == "false"


def test_a_checkpoint_folds_the_log(store: Store) -> None:
    add(store, *(draft(n, payload=b"x" * 10_000) for n in range(100)))
    assert store.checkpoint() > 1_000_000 or not isinstance(store, SqliteWriter)  # a server keeps its own log
    assert store.checkpoint() == 0
    assert len(store.jobs(limit=200)) == 100


def test_a_reader_sees_what_was_committed_and_nothing_else(store: Store) -> None:
    reader = store.reader()
    with writing(store, 100) as ledger:
        ledger.add([draft(1)])
        assert reader.job("001") is None
    assert reader.job("001") == store.job("001")


def test_a_snapshot_stands_still_while_the_writer_goes_on(store: Store) -> None:
    reader = store.reader()
    add(store, draft(1))
    with reader.snapshot():
        before = reader.jobs(limit=9)
        add(store, draft(2, model="other"))
        assert reader.jobs(limit=9) == before
        assert reader.job("002") is None
    assert reader.job("002") is not None


def test_what_is_due_is_found_caller_by_caller_and_receiver_by_receiver(store: Store) -> None:
    hooks = [("alice", "http://b/x"), ("alice", "http://a/x"), ("alice", "http://a/y"), ("", "http://a/x")]
    for n, (owner, url) in enumerate(hooks):
        add(store, draft(n, owner=owner, webhook_url=url), now=100 + n)
    assert store.owners_due() == ["", "alice"]
    assert store.receivers_due("alice", limit=9) == [Due("http://a", 101, False), Due("http://b", 100, False)]
    assert store.receivers_due("alice", limit=1) == [Due("http://a", 101, False)]
    assert store.receivers_due("alice", after="http://a", limit=9) == [Due("http://b", 100, False)]
    assert store.receivers_due("", limit=9) == [Due("http://a", 103, False)]
    assert store.receivers_due("bob", limit=9) == []
    found = store.due("alice", "http://a", now=102, limit=9)
    assert [delivery.url for delivery in found] == ["http://a/x", "http://a/y"]
    assert [delivery.url for delivery in store.due("alice", "http://a", now=101, limit=9)] == ["http://a/x"]
    besides = frozenset({found[0].key})
    assert store.due("alice", "http://a", now=102, besides=besides, limit=1) == [found[1]]
    with store.transaction():
        for delivery in found:
            assert isinstance(delivery, Delivery)
            store.put_deliveries([replace(delivery, state=DeliveryState.DELIVERED)])
        store.delete(["003"])
    assert store.owners_due() == ["alice"]
    assert store.receivers_due("alice", limit=9) == [Due("http://b", 100, False)]


@pytest.mark.parametrize(
    ("tried", "status", "failed"), [(0, None, False), (1, None, True), (1, 503, True), (1, 429, False)]
)
@pytest.mark.parametrize("other_due", [50.0, 500.0])
def test_a_receiver_that_failed_is_told_from_others_by_what_is_due_to_it(
    store: Store, tried: int, status: int | None, failed: bool, other_due: float
) -> None:
    add(store, draft(1, webhook_url="http://a/x"), draft(2, webhook_url="http://a/x"), now=100)
    first, other = store.due("", "http://a", now=100, limit=9)
    assert isinstance(first, Delivery) and isinstance(other, Delivery)
    with store.transaction():
        store.put_deliveries([replace(first, attempts=tried, status=status, due_at=200.0)])
        store.put_deliveries([replace(other, due_at=other_due)])
    assert store.receivers_due("", limit=9) == [Due("http://a", min(200.0, other_due), failed)]
