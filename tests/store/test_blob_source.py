"""The blobs of a database without Foreman: backups, checks and moves have them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from foreman.domain.errors import StoreRefused
from foreman.domain.files import PIECE, File
from foreman.domain.job import Artifact, State
from foreman.store import integrity
from foreman.store.blob_folder import fleet_folder
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from foreman.store.sqlite.writer import SqliteWriter
from foreman.store.transfer import transfer
from tests.store.conftest import Store, add, claimed, draft, put
from tests.store.test_conformance_files import LARGE, content, keep
from tests.support.postgres import ORIGINS, Servers
from tests.support.queue import writing

SMALL = b"a few lines\n"


def filled(store: Store) -> list[File]:
    """Two files, and a job with a large artifact."""
    [job] = add(store, draft())
    working = put(store, claimed(store, job), state=State.WORKING)
    artifact = Artifact(name="completion", content_type="application/json", data=LARGE[:-1])
    with writing(store, 100) as ledger:
        ledger.put(ledger.ended(working, State.DONE), working, [artifact])
    return [keep(store, 1, LARGE), keep(store, 2, SMALL), keep(store, 3, b"")]


def has_all(store: Store, files: list[File]) -> None:
    assert [content(store, file) for file in files] == [LARGE, SMALL, b""]
    assert store.content("001", "completion") == LARGE[:-1]
    assert store.content("001", "completion", begin=PIECE - 1, size=3) == LARGE[PIECE - 1 : PIECE + 2]


def blob_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != ".lock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with closing(SqliteWriter(folder / "foreman.db")) as store:
        filled(store)
    return folder


def test_a_backup_restored_on_an_empty_machine_has_all_blobs(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(SqliteWriter(tmp_path / "data" / "foreman.db")) as store:
        files = filled(store)
        integrity.backup(store.path, copy)  # while it runs
    restored = tmp_path / "new" / "foreman.db"
    restored.parent.mkdir()
    copy.rename(restored)
    assert integrity.check(restored).problems == []
    with closing(SqliteWriter(restored)) as again:
        has_all(again, files)
        fresh = keep(again, 4, b"new bytes")
        integrity.backup(again.path, copy)  # of blobs in both places
    assert integrity.check(restored).problems == []
    other = tmp_path / "other" / "foreman.db"
    other.parent.mkdir()
    copy.rename(other)
    with closing(SqliteWriter(other)) as third:
        has_all(third, files)
        assert content(third, fresh) == b"new bytes"


def test_nothing_is_removed_while_a_backup_reads(tmp_path: Path) -> None:
    with closing(SqliteWriter(tmp_path / "data" / "foreman.db")) as store:
        file = keep(store, 1, SMALL)
        with store.transaction(100):
            store.delete_files([file.id])
            keys = store.drop_blobs([file.blob])
        folder = store._folder
        assert folder is not None
        with folder.kept():
            store.blobs.remove(keys)
            assert len(blob_files(folder.path)) == 1
        store.blobs.remove(keys)
        assert blob_files(folder.path) == []


def test_a_backup_without_all_bytes_is_none(folder: Path, tmp_path: Path) -> None:
    blob_files(folder / "blobs")[0].unlink()
    with pytest.raises(StoreRefused, match="is missing in the folder"):
        integrity.backup(folder / "foreman.db", tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy.db*"))


def test_a_check_finds_what_is_missing_damaged_or_left_over(folder: Path) -> None:
    database = folder / "foreman.db"
    assert integrity.check(database).problems == []
    missing, damaged, *_ = [path for path in blob_files(folder / "blobs") if path.stat().st_size]
    digests = missing.name[:64], damaged.name[:64]
    missing.unlink()
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    (folder / "blobs" / "01ARZ3NDEKTSV4RRFFQ69G5FAV..part").write_bytes(b"x")
    problems = integrity.check(database).problems
    assert sorted(problem.split(" in ")[0] for problem in problems) == sorted(
        [
            "1 blobs belong to nothing, such as 01ARZ3NDEKTSV4RRFFQ69G5FAV..part; foreman removes them while it runs",
            f"blob {digests[0]} is missing",
            f"blob {digests[1]} is damaged; restore a backup",
        ]
    )
    with closing(SqliteWriter(database)) as store:
        assert len(integrity.check(database).problems) == 2  # what is being written is nobody's fault
        with store.transaction(100):
            store._sql.run("DELETE FROM blobs WHERE digest = ?", (digests[1],))
        assert any("bytes that no blob has" in one or "artifact that no blob has" in one
                   for one in integrity.check(database).problems)  # fmt: skip


@pytest.mark.parametrize("place", ["rows", "folder"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_move_takes_all_blobs_along(tmp_path: Path, servers: Servers, origin: str, place: str) -> None:
    with closing(SqliteWriter(tmp_path / "data" / "foreman.db")) as store:
        files = filled(store)
    blobs = tmp_path / "shared" if place == "folder" else None
    server = servers.get(origin)
    with server.schema() as schema:
        url = server.url(schema)
        moved = transfer(tmp_path / "data", url, "n", lambda *_: None, blobs)
        assert (moved.rows["blobs"], moved.rows["files"]) == (4, 3)
        assert integrity.check_server(url, blobs).problems == []
        with closing(PostgresWriter(url, Identity("node", "n"), blobs)) as there:
            has_all(there, files)
            assert there.secret is not None
            if blobs is not None:
                one = blob_files(blobs / fleet_folder(there.secret))[0]
                one.unlink()
                [problem] = integrity.check_server(url, blobs).problems
                assert f"blob {one.name[:64]} is missing" in problem
