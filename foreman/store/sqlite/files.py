"""The files of an open database: whether those at its path are still the ones that are open."""

from __future__ import annotations

import os
from pathlib import Path

from foreman.domain.errors import StoreBroken

_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html, 1.3


class Files:
    """Notices that a file was removed, moved, replaced or overwritten by another program.

    Commits would go on without an error: into files that nobody will find.
    """

    def __init__(self, database: Path) -> None:
        """Open the database beside SQLite, and make it where there is none. Raises OSError."""
        self._database = database
        # Locks of POSIX are the process's own: this closes after every connection, or theirs would be gone with it.
        self._handle = os.open(database, os.O_RDONLY | os.O_CREAT, 0o600)
        self._known: dict[Path, tuple[int, int]] = {}

    def close(self) -> None:
        os.close(self._handle)

    def learn(self, *paths: Path) -> None:
        """Take the files at these paths, where there are any, for those that are open."""
        self._known = {path: _identity(path) for path in paths if path.exists()}

    def check(self) -> None:
        """Raise StoreBroken unless all are as they were; some microseconds."""
        for path, known in self._known.items():
            try:
                same = _identity(path) == known
            except OSError as error:
                raise StoreBroken(f"{path} is not there any more ({error.strerror}): put it back") from error
            if not same:
                raise StoreBroken(f"{path} was replaced while it was in use")
        if os.pread(self._handle, len(_MAGIC), 0) != _MAGIC:
            raise StoreBroken(f"{self._database} was overwritten: it is not a database any more")


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
