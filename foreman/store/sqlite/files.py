"""The guard over the files of an open database."""

from __future__ import annotations

import os
from pathlib import Path

from foreman.domain.errors import StoreBroken

_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html, 1.3


class Files:
    """A detector of files removed, moved, replaced or overwritten by another program.

    Commits would go on without an error, into files that have no name any more.
    """

    def __init__(self, database: Path) -> None:
        """Open the database file besides SQLite, or create it. Raise OSError."""
        self._database = database
        # Closing a file drops all POSIX locks of the process on it, so this must close after every connection.
        self._handle = os.open(database, os.O_RDONLY | os.O_CREAT, 0o600)
        self._known: dict[str, tuple[int, int]] = {}  # by path

    def close(self) -> None:
        """Close all files."""
        os.close(self._handle)

    def learn(self, *paths: Path) -> None:
        """Remember the existing files at these paths as the open ones."""
        self._known = {str(path): _identity(str(path)) for path in paths if path.exists()}

    def check(self) -> None:
        """Raise StoreBroken unless all files are unchanged. Takes some microseconds."""
        for path, known in self._known.items():
            try:
                same = _identity(path) == known
            except OSError as error:
                raise StoreBroken(f"{path} is gone ({error.strerror}): put it back") from error
            if not same:
                raise StoreBroken(f"{path} was replaced while it was in use")
        if os.pread(self._handle, len(_MAGIC), 0) != _MAGIC:
            raise StoreBroken(f"{self._database} was overwritten: it is not a database any more")


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
