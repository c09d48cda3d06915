"""The soak itself: it sees what grows, and every way of its load is answered."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.e2e.soak.sample import Sample, judged


def samples(memory: list[float], descriptors: int = 40) -> list[Sample]:
    return [Sample(float(at), taken, descriptors, 6, 1.0) for at, taken in enumerate(memory)]


def test_growth_is_told_from_what_fills_up_once() -> None:
    assert judged(samples([50, 100, 101, 100, 102, 101, 100, 102])).ok
    assert not judged(samples([50, 100, 100, 104, 106, 108, 110, 112])).ok


def test_descriptors_left_open_are_told() -> None:
    late = samples([100.0] * 6) + samples([100.0] * 2, descriptors=80)
    assert not judged(late).ok


def test_a_short_soak_has_its_requests_answered() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.e2e.soak",
        "--seconds",
        "4",
        "--samples",
        "4",
        "--pace",
        "100",
        "--seed",
        "7",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said  # four seconds tell nothing of growth
    assert "memory" in done.stdout.splitlines()[-1], said
    statuses = set(re.findall(r"× (\w+)", done.stdout))
    assert {"200", "202"} <= statuses, said
    assert "500" not in statuses, said
