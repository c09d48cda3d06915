"""What a process takes at one moment, and whether it took more at the end than before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

GROWTH = 0.05  # of memory, from the second quarter to the last one
MORE_DESCRIPTORS = 8  # connections that happen to be open
MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    at: float  # seconds since the start
    memory: float  # MB resident
    descriptors: int
    threads: int
    stored: float  # MB of the database and its log

    def line(self) -> str:
        return (
            f"{self.at:6.0f} s  {self.memory:6.1f} MB  {self.descriptors:4} descriptors  {self.threads:3} threads  "
            f"{self.stored:6.1f} MB stored"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    memory: tuple[float, float]  # medians of the second quarter and of the last one
    descriptors: tuple[float, float]

    @property
    def ok(self) -> bool:
        before, after = self.memory
        return after <= before * (1 + GROWTH) and self.descriptors[1] <= self.descriptors[0] + MORE_DESCRIPTORS

    def line(self) -> str:
        (before, after), (few, many) = self.memory, self.descriptors
        return (
            f"{'flat' if self.ok else 'GROWN'}: memory {before:.1f} → {after:.1f} MB ({after / before - 1:+.1%}), "
            f"descriptors {few:g} → {many:g}"
        )


def sampled(pid: int, data_dir: Path, at: float) -> Sample:
    """Return what process `pid` takes now, by what Linux says of it."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(value) for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)}
    return Sample(
        at=at,
        memory=found["VmRSS"] * 1024 / MB,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=found["Threads"],
        stored=sum(file.stat().st_size for file in data_dir.glob("foreman.db*")) / MB,
    )


def judged(samples: Sequence[Sample]) -> Verdict:
    """Compare the second quarter with the last one: by then everything that fills up once is full."""
    quarter = max(1, len(samples) // 4)

    def both(of: Callable[[Sample], float]) -> tuple[float, float]:
        return median(map(of, samples[quarter : 2 * quarter])), median(map(of, samples[-quarter:]))

    return Verdict(both(lambda sample: sample.memory), both(lambda sample: sample.descriptors))
