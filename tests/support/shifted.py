"""Foreman on a machine with a wrong clock: `python -m tests.support.shifted SECONDS` is `foreman serve`."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

from foreman import supervisor
from foreman.__main__ import main
from tests.support.foreman import Daemon


class Shifted(Daemon):
    """A Foreman whose clock is so many seconds ahead."""

    def __init__(self, seconds: float, data_dir: Path, **settings: object) -> None:
        super().__init__(data_dir, **settings)
        self.command = (sys.executable, "-m", "tests.support.shifted", str(seconds))


def shift(seconds: float) -> None:
    """Set the clock of this process: all of it but the time in log lines."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + round(seconds * 1e9)
    supervisor.serve = functools.partial(supervisor.serve, clock=time.time)  # its default is the right clock


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    sys.argv[1:] = ["serve"]
    main()
