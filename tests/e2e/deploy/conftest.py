"""Which built executable is tried."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("deployment")
    group.addoption("--binary", default=None, help="try this single executable, which `make binary` has built")
