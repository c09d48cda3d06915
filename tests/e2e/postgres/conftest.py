"""The server of tests with several Foremen, and for how long it is away."""

from __future__ import annotations

import pytest

from tests.support.postgres import ENGINES, Server, Servers

SHORTLY = 3.0  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("postgres")
    group.addoption("--away-seconds", type=float, default=SHORTLY, help="how long databases are away that are killed")


@pytest.fixture
def away(request: pytest.FixtureRequest) -> float:
    """For how many seconds a database is away that is killed."""
    return float(request.config.getoption("--away-seconds", default=SHORTLY))


@pytest.fixture
def one_server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """The server that `--store` asks for, else the newest one: for tests that take long."""
    asked = request.config.getoption("--store")
    return servers.get(asked if asked in ENGINES[1:] else ENGINES[-1])
