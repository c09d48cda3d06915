"""Three Foremen on one PostgreSQL while one fault of each kind happens to them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.crash.fleet import FAULTS, Tally, campaign
from tests.support.postgres import Servers


def test_what_a_fleet_acknowledged_is_done_once_and_told_alike_everywhere(servers: Servers, tmp_path: Path) -> None:
    seed, tally = random.randrange(2**32), Tally()
    campaign(tmp_path, servers.get("installed"), tally, FAULTS, nodes=3, seed=seed)
    assert tally.verdict.ok, f"seed {seed}: {tally}"
    assert tally.faults.total() == len(FAULTS) and tally.acknowledged >= len(FAULTS)
