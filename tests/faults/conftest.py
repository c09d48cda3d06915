"""The scripted upstream, and Foremen with a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.broken import Broken
from tests.support.foreman import Upstream

Break = Callable[..., Broken]


@pytest.fixture
def serve(data_dir: Path, upstream: Upstream) -> Iterator[Break]:
    """Starts a Foreman in which the named fault may come."""
    started: list[Broken] = []

    def start(error: str, **settings: object) -> Broken:
        given = {"ollama_url": upstream.url, "retry_backoff": 0.05, "retry_backoff_max": 0.1} | settings
        started.append(Broken(error, data_dir, **given))
        started[-1].start()
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()
