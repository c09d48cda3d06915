"""Killed between the bytes of a file and its row: the file is there whole or not at all, and nothing is left over."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from foreman.queue.actor import QueueActor
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store import integrity
from foreman.store.sqlite.writer import SqliteWriter
from tests.crash.uploader import DATA, FILE_ID, POINTS
from tests.support.actors import blobs_of
from tests.support.foreman import ROOT
from tests.support.sites import only_site


@pytest.mark.parametrize("point", POINTS)
async def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-m", "tests.crash.uploader", str(tmp_path), point]
    killed = await trio.run_process(command, cwd=ROOT, check=False, capture_stderr=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with closing(SqliteWriter(tmp_path / "foreman.db")) as store:
        queue = QueueActor(CommandHandlers(store, JobRules(), only_site(), clock=lambda: 2.0))
        async with trio.open_nursery() as nursery:
            await nursery.start(queue.run)
            swept = await blobs_of(queue, store).sweep(coordinates=True)
            await queue.close()
        file = store.file(FILE_ID)
        assert (file is not None) == (point == "after commit")
        assert swept == (0 if file else 1)
        left = [name for name in os.listdir(tmp_path / "blobs") if name != ".lock"]
        assert len(left) == (1 if file else 0)
        if file:
            assert b"".join(store.blob_content(file.blob, at, 2**20) for at in range(0, file.size, 2**20)) == DATA
    assert integrity.check(tmp_path / "foreman.db").problems == []
