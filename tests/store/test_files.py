"""The files of a database that is open: removed, moved, replaced or overwritten by another program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from foreman.domain.errors import StoreBroken
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, draft


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def replace(name: str) -> Callable[[Path], object]:
    def put_copy(folder: Path) -> None:
        shutil.copyfile(folder / name, folder / "copy")
        os.replace(folder / "copy", folder / name)

    return put_copy


def overwrite(folder: Path) -> None:
    with (folder / "foreman.db").open("r+b") as file:
        file.write(b"these are my notes\n" * 10)


def put_link(folder: Path) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    shutil.copytree(moved, folder.with_name("copy"))
    folder.symlink_to(folder.with_name("copy"))


WAYS: dict[str, Callable[[Path], object]] = {
    "the database removed": remove("foreman.db"),
    "its log removed": remove("foreman.db-wal"),
    "its index removed": remove("foreman.db-shm"),
    "the lock removed": remove("foreman.lock"),
    "the folder removed": shutil.rmtree,
    "the folder moved": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "the folder moved and linked to a copy": put_link,
    "the database replaced": replace("foreman.db"),
    "its log replaced": replace("foreman.db-wal"),
    "overwritten": overwrite,
    "emptied": lambda folder: os.truncate(folder / "foreman.db", 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_commit_is_believed_once_it_is_not_what_was_opened(data_dir: Path, way: str) -> None:
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        add(store, draft(1))
        WAYS[way](data_dir)
        with pytest.raises(StoreBroken, match=str(data_dir)):
            add(store, draft(2))


def test_without_its_log_what_was_committed_is_kept_when_it_closes(data_dir: Path) -> None:
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        add(store, draft(1))
        remove("foreman.db-wal")(data_dir)
        with pytest.raises(StoreBroken):
            add(store, draft(2))
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        assert store.job("001") is not None


def test_closing_leaves_the_log_of_another_database_alone(data_dir: Path) -> None:
    mine = SqliteWriter(data_dir / "foreman.db")
    add(mine, draft(1))
    data_dir.rename(data_dir.with_name("elsewhere"))
    with closing(SqliteWriter(data_dir / "foreman.db")) as other:
        add(other, draft(2))
        with pytest.raises(StoreBroken):
            add(mine, draft(3))
        mine.close()
        add(other, draft(4))  # which finds all its files
