"""A fleet on PostgreSQL that faults of any third of all kinds befall; `make crash` has each of them many times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.faults import FAULTS
from tests.crash.fleet import Tally, campaign


@pytest.mark.long
def test_what_a_fleet_acknowledged_is_done_once_and_told_alike_everywhere(tmp_path: Path) -> None:
    seed, tally = random.randrange(2**32), Tally()
    plan = random.Random(seed).sample([*FAULTS], len(FAULTS) // 3)
    campaign(tmp_path, tally, plan, nodes=3, seed=seed)
    assert tally.verdict.ok, f"seed {seed}: {tally.report()}"
    assert tally.faults.keys() == set(plan)
    assert tally.acknowledged >= len(plan)
