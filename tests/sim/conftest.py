"""Which histories are played: the first eight, the first N, or one."""

from __future__ import annotations

import pytest

HISTORIES = 8


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--sim-seed", type=int, default=None, help="play this one history")
    group.addoption("--sim-seeds", type=int, default=None, help="play so many histories")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        one = metafunc.config.getoption("--sim-seed", default=None)
        many = metafunc.config.getoption("--sim-seeds", default=None) or HISTORIES
        metafunc.parametrize("seed", range(many) if one is None else [one])
