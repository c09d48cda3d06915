"""The output of a child server: its last lines in memory, all of it in a file of bounded size.

Lines that cannot be written are dropped and counted; the server runs on.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from foreman import logs
from foreman.config.managed_model import ManagedModel
from foreman.domain.answers.refusals import clean

MAX_FILE = 5 * 2**20  # bytes; a larger file becomes `.log.1` and a new one is begun
KEPT_LINES = 20
MAX_TAIL = 2**20  # bytes read of one file for its last lines
MAX_LINE = 4096  # bytes; longer ones are cut into pieces

_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"|:,()]+/)+")


class ChildLog:
    """The output of one child, appended to `folder/<model>.log`."""

    def __init__(self, folder: Path, model: str, secret: str) -> None:
        """Write to `folder`; `secret` is masked wherever the child prints it."""
        self.path = _path(folder, model)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._secret = secret.encode()
        self._rest = b""
        self._file: FileIO | None = None  # None: opened at the next write

    def write(self, data: bytes) -> None:
        """Take a piece of output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        self._keep(lines)

    def last_lines(self) -> list[str]:
        """Return the last lines of output for callers, with the folders in paths left out."""
        return [_FOLDERS.sub("…/", line) for line in self._lines]

    def close(self) -> None:
        """Write an unfinished line and close the file."""
        if self._rest:
            self._keep([self._rest])
            self._rest = b""
        self._close()

    def _keep(self, lines: list[bytes]) -> None:
        if self._secret:
            lines = [line.replace(self._secret, b"***") for line in lines]
        self._lines.extend(text for line in lines if (text := clean(line.decode("utf-8", "replace"))))
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._append(data)
        except OSError:
            logs.count_dropped(len(lines))
            self._close()

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self.path, "a")
        if self._file.tell() + len(data) > MAX_FILE:
            self._close()
            os.replace(self.path, self.path.with_suffix(".log.1"))
            self._file = FileIO(self.path, "a")
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def log_name(model: ManagedModel) -> str:
    """Return the name of the log of a model's server."""
    return f"{model.name}-embedding" if model.embedding else model.name


def log_files(models: Sequence[ManagedModel], folder: Path) -> dict[str, Path]:
    """Return the files for the output of the models' servers, by the names of their logs."""
    return {name: _path(folder, name) for name in map(log_name, models)}


def _path(folder: Path, name: str) -> Path:
    return folder / f"{file_name(name)}.log"


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, or of the one before while it is too new; empty without one."""
    found: list[str] = []
    for one in (path, path.with_suffix(".log.1")):
        if len(found) >= lines:
            break
        with contextlib.suppress(OSError), open(one, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MAX_TAIL))
            text = file.read(MAX_TAIL).decode("utf-8", "replace")
            whole: Sequence[str] = text.split("\n")[1 if size > MAX_TAIL else 0 :]
            found = [line for one in whole if (line := clean(one))][-(lines - len(found)) :] + found
    return found


def file_name(model: str) -> str:
    """Return the name of a model as a file name that is safe everywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", model).strip(".") or "model"
