"""A Foreman over the scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.foreman import Daemon, Upstream


@pytest.fixture(scope="session")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("foreman") / "data", ollama_url=upstream.url, shutdown_grace=0) as daemon:
        yield daemon
        assert not daemon.errors
