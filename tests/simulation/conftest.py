"""Which histories are played: some short ones, the first N, or one."""

from __future__ import annotations

import pytest

SHORT = (174,)  # 86 is played twice by another test

SHORT_OF_NODES = (54,)  # 29 is played twice by another test


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--sim-seed", type=int, default=None, help="play this one history")
    group.addoption("--sim-seeds", type=int, default=None, help="play so many histories")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, short in {"seed": SHORT, "nodes_seed": SHORT_OF_NODES}.items():
        if name in metafunc.fixturenames:
            one = metafunc.config.getoption("--sim-seed", default=None)
            many = metafunc.config.getoption("--sim-seeds", default=None)
            metafunc.parametrize(name, [one] if one is not None else range(many) if many is not None else short)
