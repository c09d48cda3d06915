"""What is acknowledged is on the disk, on macOS too, whose fsync does not say so."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from foreman.store import flush
from foreman.store.sqlite import database

OF_MACOS = 51  # F_FULLFSYNC there


@pytest.mark.parametrize(("supported", "asked"), [(True, ["full"]), (False, ["full", "fsync"])])
def test_macos_is_asked_for_more_than_fsync(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, supported: bool, asked: list[str]
) -> None:
    seen: list[str] = []

    def control(_handle: int, command: int) -> int:
        assert command == OF_MACOS
        seen.append("full")
        if not supported:
            raise OSError(errno.ENOTSUP, "not supported")
        return 0

    monkeypatch.setattr(flush, "_FULL", OF_MACOS)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda _handle: seen.append("fsync"))
    with (tmp_path / "file").open("wb") as file:
        flush.flush(file.fileno())
    assert seen == asked


def test_so_is_sqlite(tmp_path: Path) -> None:
    with closing(database._open(tmp_path / "db")) as db:
        assert [setting(db, name) for name in ("fullfsync", "checkpoint_fullfsync", "synchronous")] == [1, 1, 2]


def setting(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
