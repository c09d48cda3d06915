"""That what was answered is on the disk: counted by the kernel, not by us."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMIT = """
import sys
from pathlib import Path
from foreman.domain.job import Draft, queued
from foreman.store.sqlite.writer import SqliteWriter

store = SqliteWriter(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    with store.transaction():
        draft = Draft(id=f"{n:03}", model="m", key="m", endpoint="/api/chat", payload=b"{}")
        store.add([draft], [queued(draft, 1.0)])
"""


def syncs(folder: Path, commits: int) -> int:
    folder.mkdir()
    trace = folder / "trace"
    traced = ["strace", "-f", "-e", "trace=fdatasync,fsync", "-o", str(trace)]
    command = [*traced, sys.executable, "-c", COMMIT, str(folder / "data" / "foreman.db"), str(commits)]
    subprocess.run(command, check=True, timeout=120)
    return len(re.findall(r"\b(?:fdatasync|fsync)\(", trace.read_text()))


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_every_commit_is_synced_before_it_returns(tmp_path: Path) -> None:
    """Needs strace (apt install strace): kill -9 cannot tell a synced commit from one that is not."""
    opening, with_commits = syncs(tmp_path / "none", 0), syncs(tmp_path / "some", 50)
    assert with_commits - opening >= 50
