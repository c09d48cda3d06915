"""Foreman killed while it is given jobs and runs them: a small campaign."""

from __future__ import annotations

import random
from pathlib import Path

from tests.crash.campaign import campaign


async def test_what_was_acknowledged_is_done_once_however_often_foreman_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    report = await campaign(tmp_path, jobs=60, kills=4, seed=seed, seconds=90)
    assert report.verdict.ok, f"seed {seed}: {report}"
    assert len(report.told.acknowledged) >= 60
