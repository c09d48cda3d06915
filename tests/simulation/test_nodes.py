"""Several nodes on one database, in virtual time, with trouble of every kind. One history again:
`python -m pytest tests/simulation/test_nodes.py --sim-seed N`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.nodes_world import simulate_nodes

pytestmark = pytest.mark.long


def test_every_promise_is_kept_by_nodes_that_share_a_database(nodes_seed: int, tmp_path: Path) -> None:
    told = simulate_nodes(nodes_seed, tmp_path)
    assert told.jobs and told.hours, told


def test_a_seed_gives_the_same_history_of_nodes_twice(tmp_path: Path) -> None:
    once, again = simulate_nodes(29, tmp_path / "first"), simulate_nodes(29, tmp_path / "second")
    assert once.jobs
    assert (once.digest, once.hours, once.tally) == (again.digest, again.hours, again.tally)
