"""Foreman and its targets killed while it is given jobs and runs them: a small campaign with each named point."""

from __future__ import annotations

import random
from pathlib import Path

from tests.crash.campaign import JOBS, Tally, campaign
from tests.crash.victim import POINTS

KILLS = len(POINTS) + 4


async def test_what_was_acknowledged_is_done_once_however_often_foreman_is_killed(tmp_path: Path) -> None:
    seed, tally = random.randrange(2**32), Tally()
    await campaign(tmp_path, tally, kills=KILLS, seed=seed)
    assert tally.verdict.ok, f"seed {seed}: {tally.report()}"
    assert tally.kills.total() == KILLS
    assert tally.kills.keys() >= set(POINTS), f"seed {seed}: {tally.report()}"
    assert tally.acknowledged >= KILLS * JOBS
    assert tally.away.total() and tally.verdict.ran.total() + tally.verdict.pruned >= KILLS * JOBS
