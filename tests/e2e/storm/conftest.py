"""Which storm, and for how long."""

from __future__ import annotations

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("storm")
    group.addoption("--storm-seed", type=int, default=None, help="play this storm; without it any")
    group.addoption("--storm-seconds", type=float, default=0, help="go on for so long; without it a few lives")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--storm-seed", default=None)
    return random.randrange(2**32) if given is None else int(given)


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--storm-seconds", default=0))
