"""Files and blobs, on every engine and in every place that it may keep bytes in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from foreman.domain.errors import BlobMissing, BlobsUnavailable, StoreRejected
from foreman.domain.files import LARGEST_ROW, PIECE, Blob, File
from foreman.domain.job import Artifact, State
from foreman.store.blobs import add_whole
from foreman.store.own import OwnJobs
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import Store, add, claimed, draft, opening, put
from tests.support.postgres import ORIGINS, Servers
from tests.support.queue import writing

PLACES = ("sqlite", *(f"{origin} {place}" for origin in ORIGINS for place in ("rows", "folder")))
LARGE = bytes(range(256)) * (LARGEST_ROW // 256) + b"and one more line"


@pytest.fixture(params=PLACES)
def open_store(request: pytest.FixtureRequest, data_dir: Path, servers: Servers) -> Iterator[Callable[[], Store]]:
    """Opens the store; called again, it closes the one before and opens the same data anew."""
    with ExitStack() as ends:
        if request.param == "sqlite":
            yield from opening(lambda: SqliteWriter(data_dir / "foreman.db"))
            return
        origin, place = request.param.split()
        server = servers.get(origin)
        url = server.url(ends.enter_context(server.schema()))
        folder = data_dir / "shared" if place == "folder" else None
        yield from opening(lambda: PostgresWriter(url, Identity("node", "n"), folder))


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


def a_file(number: int, blob: Blob, **fields: object) -> File:
    plain = {"id": f"file-{number:03}", "owner": "", "purpose": "batch", "filename": "lines.jsonl", "size": blob.size}
    return File(**(plain | {"created_at": 100.0, "expires_at": None, "blob": blob.digest} | fields))  # type: ignore[arg-type]


def keep(store: Store, number: int, data: bytes, **fields: object) -> File:
    blob = add_whole(store.blobs, data)
    file = a_file(number, blob, **fields)
    with store.transaction(100):
        added = store.add_file(file, blob)
    if not added:
        store.blobs.remove([blob.key])
    store.blobs.pending.discard(blob.key)
    return file


def content(store: Store, file: File) -> bytes:
    parts = [store.file_content(file.id, begin=at) or b"" for at in range(0, max(1, file.size), PIECE)]
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_a_file_is_read_back_whole_and_in_parts(store: Store, size: int) -> None:
    data = (LARGE * 2)[:size]
    file = keep(store, 1, data, filename="../\x01naïve\u2028.jsonl", owner="alice", expires_at=7.5)
    assert store.file(file.id) == file
    assert content(store, file) == data
    assert file.blob == hashlib.sha256(data).hexdigest()
    for begin, length in ((0, 1), (PIECE - 1, 2), (PIECE, PIECE), (size - 1, 5), (size, 5)):
        if begin >= 0:
            assert store.file_content(file.id, begin=begin, size=length) == data[begin : begin + length]
    assert store.file_content("file-002") is None


def test_what_is_kept_is_there_after_a_restart(open_store: Callable[[], Store]) -> None:
    file = keep(open_store(), 1, LARGE)
    again = open_store()
    assert again.file(file.id) == file
    assert content(again, file) == LARGE
    stored = again.blobs.stored(set())
    assert again.named_blobs(stored) == set(stored)


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    first, second = keep(store, 1, LARGE), keep(store, 2, LARGE)
    assert first.blob == second.blob
    with store.transaction(100):
        store.delete_files([first.id])
    assert store.unused_blobs(9) == []
    assert content(store, second) == LARGE
    with store.transaction(100):
        assert store.drop_blobs([first.blob]) == []
        store.delete_files([second.id])
    assert store.unused_blobs(9) == [first.blob]
    with store.transaction(100):
        [key] = store.drop_blobs([first.blob])
    store.blobs.remove([key])
    assert store.blobs.stored(set()) == []
    third = keep(store, 3, LARGE)  # under a new key: the removal of the old one cannot meet it
    assert content(store, third) == LARGE


def test_pieces_of_a_dropped_blob_are_found_until_the_last_is_deleted(store: Store) -> None:
    file = keep(store, 1, LARGE)
    with store.transaction(100):
        store.delete_files([file.id])
        [key] = store.drop_blobs([file.blob])
    dropped = 0
    while store.stray_pieces() == [key]:
        with store.transaction(100):
            assert store.drop_pieces(key, 1) == 1, dropped
        dropped += 1
    assert dropped in (0, len(LARGE) // PIECE + 1)
    with store.transaction(100):
        assert store.drop_pieces(key, 1) == 0


def test_files_are_listed_by_age_owner_and_purpose(store: Store) -> None:
    blob = keep(store, 0, b"x").blob
    some = Blob(digest=blob, key="", size=1)
    for number in range(1, 7):
        owner, purpose = ("alice", "batch") if number % 2 else ("bob", "batch_output")
        with store.transaction(100):
            store.add_file(a_file(number, some, owner=owner, purpose=purpose), some)

    def ids(**wanted: object) -> list[int]:
        return [int(file.id[-3:]) for file in store.files(**({"limit": 9} | wanted))]  # type: ignore[arg-type]

    assert ids() == [6, 5, 4, 3, 2, 1, 0]
    assert ids(newest=False) == [0, 1, 2, 3, 4, 5, 6]
    assert ids(limit=2) == [6, 5]
    assert ids(after="file-005", limit=2) == [4, 3]
    assert ids(after="file-003", newest=False) == [4, 5, 6]
    assert ids(owner="alice") == [5, 3, 1]
    assert ids(purpose="batch_output") == [6, 4, 2]
    assert ids(owner="alice", purpose="batch_output") == []
    assert store.count_files("bob") == 3
    own = OwnJobs(store, "alice")
    assert [file.id for file in own.files(limit=9)] == ["file-005", "file-003", "file-001"]
    assert own.file("file-002") is None and own.file_content("file-002") is None
    assert own.files(owner="bob", limit=9) == []


def test_expired_files_are_found_the_first_to_expire_first(store: Store) -> None:
    for number, at in ((1, 300.0), (2, 200.0), (3, None), (4, 250.0)):
        keep(store, number, b"%d" % number, expires_at=at)
    assert store.expired_files(199, 9) == []
    assert store.expired_files(250, 9) == ["file-002", "file-004"]
    assert store.expired_files(999, 1) == ["file-002"]


def test_an_unfinished_blob_is_its_nodes_to_remove(open_store: Callable[[], Store]) -> None:
    store = open_store()
    writer = store.blobs.begin()
    writer.write(LARGE)
    assert writer.key in store.blobs.pending
    assert store.blobs.stored(None) == [writer.key]
    writer.close()
    store.blobs.remove([writer.key])
    assert store.blobs.stored(set()) == []


def test_a_blob_that_was_removed_meanwhile_is_in_no_file(store: Store) -> None:
    blob = add_whole(store.blobs, LARGE)
    store.blobs.remove([blob.key])
    with pytest.raises(BlobsUnavailable), store.transaction(100):
        store.add_file(a_file(1, blob), blob)
    assert store.file("file-001") is None


def test_a_transaction_that_fails_leaves_a_blob_for_the_sweep(store: Store) -> None:
    [job] = add(store, draft())
    working = put(store, claimed(store, job), state=State.WORKING)
    artifact = Artifact(name="completion", content_type="application/json", data=LARGE)
    with writing(store, 100) as ledger:
        ledger.put(ledger.ended(working, State.DONE), working, [artifact])
    other = replace(artifact, data=LARGE + b"!")
    with pytest.raises(StoreRejected), store.transaction(100):
        store.put([working], {job.id: [other]})  # its position is taken
    assert store.blobs.pending == set()
    stored = store.blobs.stored(None)
    assert len(set(stored) - store.named_blobs(stored)) == 1


def test_a_large_artifact_is_a_blob_and_a_small_one_a_row(store: Store) -> None:
    [job] = add(store, draft())
    working = put(store, claimed(store, job), state=State.WORKING)
    artifacts = [
        Artifact(name="completion", content_type="application/json", data=LARGE),
        Artifact(name="image-0.png", content_type="image/png", data=LARGE[:LARGEST_ROW]),
        Artifact(name="image-1.png", content_type="image/png", data=LARGE),
    ]
    with writing(store, 100) as ledger:
        ledger.put(ledger.ended(working, State.DONE), working, artifacts)
    for artifact in artifacts:
        size = len(artifact.data)
        assert store.size(job.id, artifact.name) == size
        assert store.content(job.id, artifact.name) == artifact.data
        assert store.content(job.id, artifact.name, begin=size - 3, size=9) == artifact.data[-3:]
    assert [shape.size for shape in store.shapes(job.id)] == [len(one.data) for one in artifacts]
    digest = hashlib.sha256(LARGE).hexdigest()
    assert store.blob_content(digest, 0, 5) == LARGE[:5]  # one blob for both
    assert store.unused_blobs(9) == [] and store.blobs.pending == set()
    with store.transaction(100):
        store.delete([job.id])
    assert store.unused_blobs(9) == [digest]


def test_bytes_that_are_missing_are_no_empty_file(store: Store) -> None:
    file = keep(store, 1, LARGE)
    with store.transaction(100):
        store.delete_files([file.id])
        [key] = store.drop_blobs([file.blob])
    store.blobs.remove([key])
    with pytest.raises(BlobMissing):
        store.blob_content(file.blob, 0, 9)
