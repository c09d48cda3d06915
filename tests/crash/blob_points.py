"""The points on the way of a blob to its folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreman.domain.files import Blob
from foreman.store.blob_folder import FolderWriter

BLOB_POINTS = (
    "begun",  # some bytes are written
    "written",  # all bytes are written, none is synced
    "synced",  # the bytes are on disk, without their name
    "named",  # the name is not on disk for sure
)


def watch_blobs(reach: Callable[[str], None]) -> None:
    """Have `reach` called at each of the points of each blob that this process writes from now on."""
    write, finish, fsync, rename = FolderWriter.write, FolderWriter.finish, os.fsync, Path.rename
    finishing = threading.local()

    def writing(self: FolderWriter, data: bytes) -> None:
        write(self, data)
        reach("begun")

    def finished(self: FolderWriter) -> Blob:
        finishing.file = self._file.fileno()
        try:
            return finish(self)
        finally:
            finishing.file = None

    def syncing(handle: Any) -> None:
        if handle != getattr(finishing, "file", None):
            fsync(handle)
            return
        reach("written")
        fsync(handle)
        reach("synced")

    def renaming(self: Path, target: Any) -> Path:
        found = rename(self, target)
        if getattr(finishing, "file", None) is not None:
            reach("named")
        return found

    FolderWriter.write = writing  # type: ignore[method-assign]
    FolderWriter.finish = finished  # type: ignore[method-assign]
    os.fsync = syncing  # type: ignore[assignment]
    Path.rename = renaming  # type: ignore[method-assign, assignment]
