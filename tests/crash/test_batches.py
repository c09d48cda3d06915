"""Foreman killed at the points in the lives of batches: no line is lost or doubled, no file half written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.batch_campaign import EACH, BatchTally, Kill, campaign

SEED = 7
WHOLE = [kill for kill in EACH if kill.fate == "completes"]
OTHERS = [kill for kill in EACH if kill.fate != "completes"]
HALF = len(WHOLE) // 2  # no job may meet too many kills


@pytest.mark.parametrize("plan", [WHOLE[:HALF], WHOLE[HALF:], OTHERS[::2]], ids=["first", "last", "others"])
async def test_each_line_is_in_one_file_wherever_foreman_is_killed(tmp_path: Path, plan: Sequence[Kill]) -> None:
    tally = BatchTally()
    await campaign(tmp_path, tally, [plan], seed=SEED)
    assert tally.verdict.ok, tally.report()
    assert tally.kills.keys() == {str(kill) for kill in plan}, tally.report()
    assert tally.acknowledged > 0
