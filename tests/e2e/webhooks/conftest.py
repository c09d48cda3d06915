"""A Foreman with a signing secret and short backoffs, over the scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.foreman import Daemon, Upstream
from tests.support.receiver import SECRET

QUICK = {"webhook_secret": SECRET, "webhook_backoff": 0.05, "webhook_backoff_max": 0.2, "shutdown_grace": 0}


@pytest.fixture(scope="session")
def daemon(engine: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("foreman") / "data"
    with Daemon(folder, ollama_url=upstream.url, **QUICK) as daemon:
        yield daemon
        assert not daemon.errors
