"""Fixtures of the queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreman.store.sqlite.writer import SqliteWriter


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield store
    store.close()
