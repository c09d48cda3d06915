"""Thousands of virtual hours of trouble, in which every promise is kept. One history again:
`python -m pytest tests/simulation --sim-seed N`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.world import simulate

pytestmark = pytest.mark.long


def test_every_promise_is_kept_through_any_history(seed: int, tmp_path: Path) -> None:
    told = simulate(seed, tmp_path)
    assert told.jobs and told.hours, told


def test_every_promise_is_kept_by_several_targets_that_come_and_go(seed: int, tmp_path: Path) -> None:
    told = simulate(seed, tmp_path, several=True)
    assert told.jobs and told.hours, told
    assert sum(count > 0 for name, count in told.tally.items() if name.startswith("claimed by ")) > 1, told


def test_a_seed_gives_the_same_history_twice(tmp_path: Path) -> None:
    once, again = simulate(86, tmp_path / "first"), simulate(86, tmp_path / "second")
    assert once.jobs
    assert (once.digest, once.hours, once.tally) == (again.digest, again.hours, again.tally)
