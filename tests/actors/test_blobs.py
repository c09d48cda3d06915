"""Blobs as tasks see them: uploads that are stored or leave nothing, and the sweep."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing, suppress
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import pruner
from foreman.actors.blobs import DROPPED_AT_ONCE, Blobs
from foreman.domain.errors import BlobsUnavailable, FileNotFound, QuotaExceeded, StoreAway, StoreFull, StoreLost
from foreman.domain.files import DROPPED, PIECE, File
from foreman.domain.quotas import Quota
from foreman.queue.actor import ANSWERS_WITHIN, MAY_BE, QueueActor
from foreman.queue.commands import DeleteFile, DropBlobs, DropPieces, Message, NewFile
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.readers import Readers
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import HangingHandlers
from tests.support.sites import only_site

T = TypeVar("T")

DATA = bytes(range(256)) * (3 * PIECE // 256)
RULES = JobRules(file_ttl=50, quotas={"alice": Quota(max_files=2)})


class Clock:
    now = 1000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(store: SqliteWriter, nursery: trio.Nursery, clock: Clock) -> AsyncIterator[QueueActor]:
    queue = QueueActor(CommandHandlers(store, RULES, only_site(), clock=lambda: clock.now))
    await nursery.start(queue.run)
    yield queue
    await queue.close()


@pytest.fixture
def blobs(store: SqliteWriter, queue: QueueActor) -> Blobs:
    return Blobs(store.blobs, queue, Readers(store))


def on_disk(store: SqliteWriter) -> list[str]:
    folder = store.path.parent / "blobs"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def new(number: int, **fields: object) -> NewFile:
    plain = {"id": f"file-{number:03}", "purpose": "batch", "filename": "a.jsonl"}
    return NewFile(**(plain | fields))  # type: ignore[arg-type]


async def stored(blobs: Blobs, number: int, data: bytes = DATA, **fields: object) -> File:
    async with blobs.upload() as upload:
        for begin in range(0, len(data), 100_000):
            await upload.write(data[begin : begin + 100_000])
        return await upload.store(new(number, **fields))


async def test_an_upload_is_a_file_with_a_time_to_go(store: SqliteWriter, blobs: Blobs, clock: Clock) -> None:
    file = await stored(blobs, 1)
    assert (file.size, file.created_at, file.expires_at) == (len(DATA), 1000, 1050)
    assert store.file("file-001") == file
    assert store.file_content(file.id, begin=PIECE, size=9) == DATA[PIECE : PIECE + 9]
    assert (await stored(blobs, 2, lifetime=7)).expires_at == 1007
    assert (await stored(blobs, 3, lifetime=0)).expires_at is None
    assert len([name for name in on_disk(store) if name != ".lock"]) == 1  # the same bytes
    assert store.blobs.pending == set()


async def test_what_is_not_stored_leaves_nothing(store: SqliteWriter, blobs: Blobs) -> None:
    async def leaving() -> None:
        async with blobs.upload() as upload:
            await upload.write(DATA)
            raise RuntimeError("the caller left")

    with pytest.raises(RuntimeError, match="the caller left"):
        await leaving()
    with trio.CancelScope() as scope:
        async with blobs.upload() as upload:
            await upload.write(DATA)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert on_disk(store) in ([], [".lock"])
    assert store.blobs.pending == set()


async def test_a_caller_that_leaves_during_the_commit_leaves_a_whole_file(
    store: SqliteWriter, queue: QueueActor, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = queue.ask
    with trio.CancelScope() as scope:

        async def asking(message: object) -> object:
            scope.cancel()
            return await ask(message)  # type: ignore[arg-type]

        monkeypatch.setattr(queue, "ask", asking)
        await stored(blobs, 1)
    assert store.file_content("file-001", begin=0, size=5) == DATA[:5]


async def test_bytes_of_a_commit_in_doubt_stay(
    store: SqliteWriter, queue: QueueActor, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def losing(message: object) -> object:
        raise StoreLost

    monkeypatch.setattr(queue, "ask", losing)
    with pytest.raises(StoreLost):
        await stored(blobs, 1)
    assert len(on_disk(store)) == 1


@pytest.mark.parametrize("loses", [False, True])
async def test_bytes_stay_until_it_is_known_if_their_row_is_stored(
    store: SqliteWriter,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    loses: bool,
) -> None:
    """A caller hears within seconds that nobody knows; the commit may turn out to be stored long after that."""
    monkeypatch.setattr(SqliteWriter, "looks_every", 10**6)  # as a store that is on a server
    autojump_clock.autojump_threshold = math.inf
    handlers = HangingHandlers(store)
    queue = QueueActor(handlers)
    await nursery.start(queue.run)
    blobs = Blobs(store.blobs, queue, Readers(store))
    told = []

    async def upload() -> None:
        with pytest.raises(StoreAway, match=MAY_BE) as refused:
            await stored(blobs, 1)
        told.append(refused.value)

    async with trio.open_nursery() as callers:
        callers.start_soon(upload)
        assert await trio.to_thread.run_sync(handlers.begun.wait, 60)
        autojump_clock.jump(ANSWERS_WITHIN)
    assert told
    assert await blobs.sweep(coordinates=False) == 0
    handlers.loses = loses
    handlers.go_on.set()
    while not await blobs.sweep(coordinates=False) and store.blobs.pending:
        await trio.lowlevel.checkpoint()
    assert store.blobs.pending == set()
    assert bool([name for name in on_disk(store) if name != ".lock"]) is not loses
    assert store.file_content("file-001", begin=0, size=5) == (None if loses else DATA[:5])


async def test_two_uploads_of_the_same_bytes_at_once_are_one_blob(store: SqliteWriter, blobs: Blobs) -> None:
    files: list[File] = []

    async def one(number: int) -> None:
        files.append(await stored(blobs, number))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)
    assert len({file.id for file in files}) == 6 and len({file.blob for file in files}) == 1
    assert len([name for name in on_disk(store) if name != ".lock"]) == 1
    for file in files:
        assert store.file_content(file.id, begin=len(DATA) - 5) == DATA[-5:]


async def test_a_quota_bounds_the_uploads_of_a_token(blobs: Blobs, store: SqliteWriter) -> None:
    await stored(blobs, 1, owner="alice")
    await stored(blobs, 2, owner="alice")
    with pytest.raises(
        QuotaExceeded, match="alice has 2 files or inputs of batches, and the quota of this token allows 2"
    ):
        await stored(blobs, 3, b"other bytes", owner="alice")
    await stored(blobs, 4, owner="bob")
    await stored(blobs, 5, owner="alice", counted=False)
    assert len([name for name in on_disk(store) if name != ".lock"]) == 1


async def test_the_sweep_removes_what_no_row_has(
    store: SqliteWriter, queue: QueueActor, blobs: Blobs, clock: Clock
) -> None:
    await stored(blobs, 1)
    kept = await stored(blobs, 2, b"kept", lifetime=0)
    stray = store.path.parent / "blobs"
    (stray / f"{'0' * 64}.01ARZ3NDEKTSV4RRFFQ69G5FAV.").write_bytes(b"left by a crash")
    (stray / "01ARZ3NDEKTSV4RRFFQ69G5FAW..part").write_bytes(b"half")
    clock.now += 60
    async with blobs.upload() as upload:
        await upload.write(DATA + b"under way")
        assert await pruner.sweep(queue, blobs) == 0
        found = on_disk(store)
        assert len(found) == 3 and found[0] == ".lock"  # what is kept, and what is under way
        file = await upload.store(new(3))
    assert store.file("file-001") is None
    assert store.file_content(file.id, begin=len(DATA)) == b"under way"
    assert store.file_content(kept.id) == b"kept"


async def test_no_transaction_deletes_more_than_a_few_pieces(
    store: SqliteWriter, queue: QueueActor, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, pieces = "01ARZ3NDEKTSV4RRFFQ69G5FAV.a", 2 * DROPPED + 3
    database = sqlite3.connect(store.path)
    with closing(database), database:  # as a backup has them
        database.execute("INSERT INTO blobs VALUES ('0', ?, ?, 1)", (key, pieces * PIECE))
        rows = [(key, place, b"0") for place in range(pieces)]
        database.executemany("INSERT INTO blob_pieces (key, position, data) VALUES (?, ?, ?)", rows)
    ask, deleted = queue.ask, []

    async def asking(message: Message[T]) -> T:
        answer = await ask(message)
        if isinstance(message, DropPieces):
            deleted.append(answer)
        elif isinstance(message, DropBlobs):
            assert store.stray_pieces() == ([key] if answer else [])
        return answer

    monkeypatch.setattr(queue, "ask", asking)
    assert await blobs.sweep(coordinates=False) == 0
    assert await blobs.sweep(coordinates=True) > 0
    assert deleted == [DROPPED, DROPPED, 3]
    assert store.stray_pieces() == []


async def test_the_folder_is_listed_once_however_many_blobs_go(
    store: SqliteWriter, queue: QueueActor, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 3 * DROPPED_AT_ONCE):
        file = await stored(blobs, number, b"%d" % number)
        await queue.ask(DeleteFile(file.id))
    remove, removed = store.blobs.remove, []

    def removing(keys: Iterable[str]) -> None:
        removed.append(len([*keys]))
        remove(keys)

    monkeypatch.setattr(store.blobs, "remove", removing)
    assert await blobs.sweep(coordinates=True) == 3 * DROPPED_AT_ONCE - 1
    assert removed[0] == 3 * DROPPED_AT_ONCE - 1
    assert sum(removed[1:]) == 0
    assert on_disk(store) == [".lock"]


async def test_a_blob_that_is_read_outlives_its_file(store: SqliteWriter, queue: QueueActor, blobs: Blobs) -> None:
    file = await stored(blobs, 1)
    with blobs.reading(file.blob):
        await queue.ask(DeleteFile("file-001"))
        await blobs.sweep(coordinates=True)
        assert store.blob_content(file.blob, 0, 5) == DATA[:5]
    await blobs.sweep(coordinates=True)
    assert on_disk(store) == [".lock"]
    with pytest.raises(FileNotFound):
        await queue.ask(DeleteFile("file-001"))


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StoreFull), (errno.EIO, BlobsUnavailable)])
async def test_a_disk_that_fails_refuses_the_upload_and_leaves_nothing(
    store: SqliteWriter, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    def failing(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("foreman.store.blob_folder.os.fsync", failing)
        (store.path.parent / "blobs").mkdir()
        with pytest.raises(error):
            await stored(blobs, 1)
    assert on_disk(store) == [".lock"]
    await stored(blobs, 2)
    with suppress(FileNotFoundError):
        os.unlink(store.path.parent / "blobs" / ".lock")
    assert len(on_disk(store)) == 1
