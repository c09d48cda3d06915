"""`python -m tests.crash.uploader FOLDER POINT`: stores a file, and is killed at a named point on the way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from foreman.domain.files import File
from foreman.store.blobs import add_whole
from foreman.store.sqlite.writer import SqliteWriter
from tests.crash.blob_points import BLOB_POINTS, watch_blobs

POINTS = (
    *BLOB_POINTS,
    "stored",  # the blob is on disk, nothing names it
    "before commit",  # its row is written
    "after commit",  # and on disk
)
DATA = bytes(range(256)) * 8192
FILE_ID = "file-01ARZ3NDEKTSV4RRFFQ69G5FAV"


def main(folder: Path, point: str) -> None:
    """Store a file, killed at the point."""

    def reach(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    store = SqliteWriter(folder / "foreman.db")
    watch_blobs(reach)
    blob = add_whole(store.blobs, DATA)
    reach("stored")
    file = File(
        id=FILE_ID, owner="", purpose="batch", filename="a", size=blob.size, created_at=1, expires_at=None,
        blob=blob.digest,
    )  # fmt: skip
    with store.transaction(1):
        store.add_file(file, blob)
        reach("before commit")
    reach("after commit")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
