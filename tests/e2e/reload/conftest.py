"""The daemon of the reloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configured import Configured


@pytest.fixture
def daemon(tmp_path: Path, at_start: str) -> Iterator[Configured]:
    """A daemon with the settings of the fixture `at_start`, which gives running jobs no grace."""
    daemon = Configured(tmp_path, at_start, shutdown_grace=0)
    with daemon:
        yield daemon
        assert not daemon.errors
