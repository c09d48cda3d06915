"""A fleet on PostgreSQL that one fault of each kind befalls."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.faults import FAULTS
from tests.crash.fleet import Tally, campaign


@pytest.mark.long
def test_what_a_fleet_acknowledged_is_done_once_and_told_alike_everywhere(tmp_path: Path) -> None:
    seed, tally = random.randrange(2**32), Tally()
    plan = random.Random(seed).sample([*FAULTS], len(FAULTS))
    campaign(tmp_path, tally, plan, nodes=3, seed=seed)
    assert tally.verdict.ok, f"seed {seed}: {tally.report()}"
    assert tally.faults.keys() == FAULTS.keys()
    assert tally.acknowledged >= len(FAULTS)
